"""The commit that reports state."""

import subprocess

from kd_perception.commit import CHECKOUT, code_commit


def test_commit_is_the_checkouts_and_says_when_files_differ(monkeypatch, tmp_path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr("kd_perception.commit.CHECKOUT", tmp_path)
    assert code_commit() == "unknown"  # no checkout
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    clean = code_commit()
    assert len(clean) == 12 and int(clean, 16)
    (tmp_path / "new.py").write_text("")
    assert code_commit() == f"{clean}+"


def test_no_git_means_no_commit(monkeypatch) -> None:
    assert (CHECKOUT / "kd_perception" / "commit.py").is_file()
    monkeypatch.setenv("PATH", "")
    assert code_commit() == "unknown"
