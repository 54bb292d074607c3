"""Mail without a mail server: one complete file a message."""

import email
import email.policy

from django.core.mail import EmailMessage, get_connection


def test_each_mail_is_one_file_with_its_attachment_intact(tmp_path, settings):
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    pdf = bytes(range(256)) * 40
    mails = [EmailMessage(f"Invoice {n}", "Hello", "from@example.com", [f"to{n}@example.com"]) for n in (1, 2)]
    mails[0].attach("INV-1.pdf", pdf, "application/pdf")
    assert get_connection("config.mail_files.EmailBackend").send_messages(mails) == 2
    files = sorted((tmp_path / "mail").iterdir())
    assert [path.suffix for path in files] == [".eml", ".eml"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    first = email.message_from_bytes(files[0].read_bytes(), policy=email.policy.default)
    assert first["To"] == "to1@example.com"
    assert [part.get_content() for part in first.iter_attachments()] == [pdf]


def test_a_recipient_cannot_choose_the_folder(tmp_path, settings):
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    mail = EmailMessage("x", "y", "from@example.com", ["../../etc/x@example.com"])
    get_connection("config.mail_files.EmailBackend").send_messages([mail])
    assert [path.parent for path in tmp_path.rglob("*.eml")] == [tmp_path / "mail"]
