"""A pytest plugin that prints each failure in one line as it happens, so that an aborted run shows it too."""

import pytest


class Told:
    """Writes failures to the terminal of `config`."""

    def __init__(self, config: pytest.Config) -> None:
        """Remember the terminal."""
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else report.longreprtext
            terminal.write_line(f"\n{report.nodeid} ({report.when}): {message.strip()[:300]}")


def pytest_configure(config: pytest.Config) -> None:
    """See pytest."""
    config.pluginmanager.register(Told(config), "told")
