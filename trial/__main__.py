from __future__ import annotations

from trial.cli import main

if __name__ == "__main__":
    main()
