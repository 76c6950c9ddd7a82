"""The programs behind the speed figures in README: `make bench`."""
