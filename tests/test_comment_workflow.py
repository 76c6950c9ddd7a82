"""The comment on a pull request: a fork's report is code in it, and only our own comment is replaced."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

WORKFLOW = Path(__file__).parent.parent / ".github/workflows/retrain-comment.yml"
MARK = "<!-- baton retrain -->"
EVIL = "# Approved\r\r# Really\n```\n@admin [here](http://evil) <img src=x>\n~~~\n</pre>\n\n    \n# Merge\n"
# It answers as GitHub does; jq's expression is applied by hand.
GH = """#!/usr/bin/env python3
import json, os, sys
words, home = sys.argv[1:], os.environ["FAKE"]
with open(home + "/calls", "a") as file:
    file.write(json.dumps(words) + "\\n")
if words[:2] == ["run", "download"]:
    pass
elif words[:2] == ["pr", "view"]:
    print("sha")
elif "--jq" in words:
    assert "github-actions[bot]" in words[-1] and "startswith" in words[-1]
    for one in json.load(open(home + "/comments.json")):
        if one["user"]["login"] == "github-actions[bot]" and one["body"].startswith("<!-- baton retrain -->"):
            print(one["id"])
"""


def comment(folder: Path, repository: str, comments: list[dict[str, object]]) -> tuple[str, list[list[str]]]:
    """Run the step with a made-up `gh`; return the comment and the calls of `gh`."""
    [step] = YAML(typ="safe").load(WORKFLOW.read_text())["jobs"]["comment"]["steps"]
    (folder / "report").mkdir()
    (folder / "report/retrain.md").write_bytes(EVIL.encode())
    (folder / "report/pull_request").write_text("7\n")
    (folder / "comments.json").write_text(json.dumps(comments))
    (folder / "gh").write_text(GH)
    (folder / "gh").chmod(0o755)
    own = {"PATH": f"{folder}:{os.environ['PATH']}", "FAKE": str(folder), "RUN": "1", "SHA": "sha"}
    own |= {"GH_REPO": "me/project", "HEAD_REPOSITORY": repository}
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", step["run"]], cwd=folder, env=own, check=True)
    calls = [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
    return (folder / "body.md").read_text(), calls


def test_no_line_of_a_forks_report_is_markdown(tmp_path: Path) -> None:
    body, _ = comment(tmp_path, "evil/project", [])
    parsed = MarkdownIt("commonmark").parse(body)
    assert [token.type for token in parsed if token.nesting >= 0] == [
        "html_block",  # the mark
        "paragraph_open",
        "inline",
        "code_block",
    ]
    assert "@admin" in parsed[-1].content and "# Merge" in parsed[-1].content


def test_the_projects_own_report_is_markdown(tmp_path: Path) -> None:
    body, _ = comment(tmp_path, "me/project", [])
    assert body.startswith(f"{MARK}\n# Approved\n")


@pytest.mark.parametrize("known", [True, False])
def test_only_the_comment_with_the_mark_is_replaced(tmp_path: Path, known: bool) -> None:
    """`--edit-last` replaced whatever another workflow of the project had written."""
    bot = {"login": "github-actions[bot]"}
    comments = [{"id": 1, "user": bot, "body": "coverage"}, {"id": 2, "user": {"login": "x"}, "body": MARK}]
    comments += [{"id": 3, "user": bot, "body": f"{MARK}\nold"}] if known else []
    _, calls = comment(tmp_path, "me/project", comments)
    place = "comments/3" if known else "issues/7/comments"
    assert calls[-1][:3] == ["api", "--method", "PATCH" if known else "POST"], calls
    assert calls[-1][3].endswith(place) and "body=@body.md" in calls[-1]


def test_the_step_gets_nothing_of_the_fork_as_code() -> None:
    [step] = YAML(typ="safe").load(WORKFLOW.read_text())["jobs"]["comment"]["steps"]
    assert "${{" not in step["run"] and "uses" not in step
