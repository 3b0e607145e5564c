"""What is known on the disk of the URLs that prove an account."""

import json
import stat
from pathlib import Path

import pytest

from kommo.errors import SignatureError
from kommo.hooks.signature import url_signature
from kommo.store.proofs import Proof
from receiver.proofs_kept import KeptProofs, NothingKept
from tests.integration.workers.logs import logged
from tests.waiting import wait_for

ONE = Proof("client-a", ("new-secret", "old-secret"))
OTHER = Proof("client-b", ("another-secret",))


def signature(proof: Proof, account: int, secret: int = 0) -> str:
    return url_signature(proof.secrets[secret], proof.client_id, account)


def written(folder: Path, *accounts: int) -> None:
    """Wait until these accounts, and no other, are on the disk."""

    def lie_there() -> bool:
        path = folder / "proofs.json"
        return path.exists() and set(json.loads(path.read_bytes())["accounts"]) == set(map(str, accounts))

    wait_for(lie_there, what=f"{accounts} are written")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def kept(folder: Path) -> KeptProofs:
    return KeptProofs(folder, every=0.02)


def test_what_was_noted_is_recognised_by_another_process(kept: KeptProofs, folder: Path) -> None:
    kept.note(7, ONE)
    kept.note(8, OTHER)
    written(folder, 7, 8)
    later = KeptProofs(folder)
    later.verify(7, signature(ONE, 7))
    later.verify(7, signature(ONE, 7, secret=1))
    later.verify(8, signature(OTHER, 8))


@pytest.mark.parametrize("wrong", ["", "0" * 64, signature(ONE, 8), signature(OTHER, 7), "é\udcff", "new-secret"])
def test_anything_else_is_refused(kept: KeptProofs, folder: Path, wrong: str) -> None:
    kept.note(7, ONE)
    written(folder, 7)
    with pytest.raises(SignatureError):
        kept.verify(7, wrong)


def test_of_an_account_that_was_never_noted_nothing_can_be_said(kept: KeptProofs, folder: Path) -> None:
    with pytest.raises(NothingKept, match="account 9"):
        kept.verify(9, signature(ONE, 9))
    kept.note(7, ONE)
    written(folder, 7)
    with pytest.raises(NothingKept, match="account 9"):
        kept.verify(9, signature(ONE, 9))


def test_neither_a_secret_nor_a_signature_lies_on_the_disk_and_only_the_owner_reads_it(
    kept: KeptProofs, folder: Path
) -> None:
    kept.note(7, ONE)
    written(folder, 7)
    text = (folder / "proofs.json").read_text()
    assert [word for word in (*ONE.secrets, signature(ONE, 7), signature(ONE, 7, secret=1)) if word in text] == []
    assert stat.S_IMODE((folder / "proofs.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_hashes_of_two_folders_have_nothing_in_common(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        KeptProofs(tmp_path / name, every=0).note(7, ONE)
        written(tmp_path / name, 7)
        texts.append(json.loads((tmp_path / name / "proofs.json").read_bytes()))
    assert texts[0]["salt"] != texts[1]["salt"]
    assert not set(texts[0]["accounts"]["7"]) & set(texts[1]["accounts"]["7"])


def test_after_a_change_of_the_secret_the_former_one_proves_nothing(kept: KeptProofs, folder: Path) -> None:
    kept.note(7, ONE)
    written(folder, 7)
    kept.note(7, Proof("client-a", ("newest-secret",)))

    def is_refused() -> bool:
        try:
            kept.verify(7, signature(ONE, 7))
        except SignatureError:
            return True
        return False

    wait_for(is_refused, what="the change is written")


def test_an_account_that_is_not_stored_any_more_is_forgotten(kept: KeptProofs, folder: Path) -> None:
    kept.note(7, ONE)
    kept.note(8, OTHER)
    written(folder, 7, 8)
    kept.note(7, None)
    kept.note(99, None)
    written(folder, 8)


def test_processes_that_share_a_folder_keep_what_each_of_them_knows(folder: Path) -> None:
    one, other = KeptProofs(folder, every=0), KeptProofs(folder, every=0)
    for account in range(1, 21):
        (one if account % 2 else other).note(account, ONE)
    written(folder, *range(1, 21))


def test_nothing_is_written_when_nothing_has_changed(kept: KeptProofs, folder: Path) -> None:
    kept.note(7, ONE)
    written(folder, 7)
    before = (folder / "proofs.json").stat()
    later = KeptProofs(folder, every=0)
    later.note(7, ONE)
    wait_for(lambda: later._timer is None, what="it has looked")
    assert (folder / "proofs.json").stat().st_ino == before.st_ino


@pytest.mark.parametrize("text", ["", "{", "[]", '{"salt": 1}', '{"salt": "zz", "accounts": {}}', '{"salt": "00"}'])
def test_a_file_that_nobody_can_read_holds_nothing_and_is_written_anew(
    kept: KeptProofs, folder: Path, text: str
) -> None:
    folder.mkdir()
    (folder / "proofs.json").write_text(text)
    with pytest.raises(NothingKept):
        kept.verify(7, signature(ONE, 7))
    kept.note(7, ONE)
    wait_for(lambda: (folder / "proofs.json").read_text() != text, what="it is written anew")
    kept.verify(7, signature(ONE, 7))


def test_a_folder_that_cannot_be_written_is_told_of_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    with logged() as lines:
        kept = KeptProofs(tmp_path / "spool", every=0.02)
        kept.note(7, ONE)
        wait_for(lambda: lines.saying("proofs not kept for when Redis is away"), what="it is told")
        (tmp_path / "spool").unlink()
        written(tmp_path / "spool", 7)
    kept.verify(7, signature(ONE, 7))


def test_the_file_is_read_once_for_all_deliveries_and_again_when_it_is_another_one(
    kept: KeptProofs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.note(7, ONE)
    written(folder, 7)
    later = KeptProofs(folder)
    later.verify(7, signature(ONE, 7))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda _path: pytest.fail("read again"))
        for _ in range(3):
            later.verify(7, signature(ONE, 7))
            with pytest.raises(NothingKept):
                later.verify(8, signature(OTHER, 8))
    kept.note(8, OTHER)
    written(folder, 7, 8)
    later.verify(8, signature(OTHER, 8))
    (folder / "proofs.json").unlink()
    with pytest.raises(NothingKept):
        later.verify(7, signature(ONE, 7))
