import time

STARTED = time.time()  # before the slow imports: whatever was asked of a worker from now on counts

from ganlab.cli import main as _main  # noqa: E402


def main() -> None:
    _main(STARTED)


if __name__ == "__main__":
    main()
