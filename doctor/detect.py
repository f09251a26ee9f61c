from __future__ import annotations

from doctor.subject import Subject


def proposal(subject: Subject) -> list[str]:
    return []
