from doctor.finding import Check

CHECKS: tuple[Check, ...] = ()
