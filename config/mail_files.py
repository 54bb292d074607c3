"""Mail for machines without a mail server: each message becomes one .eml file that any mail program opens."""

import itertools
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

_counter = itertools.count(1)


class EmailBackend(BaseEmailBackend):
    """Write each message to the folder EMAIL_FILE_PATH, complete or not at all."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Write the messages and return how many there were."""
        folder = Path(settings.EMAIL_FILE_PATH)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in email_messages:
            self._write(folder, message)
        return len(email_messages)

    def _write(self, folder: Path, message: EmailMessage) -> None:
        recipient = re.sub(r"[^\w@.+-]", "_", (message.recipients() or ["nobody"])[0], flags=re.ASCII)[:80]
        moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        path = folder / f"{moment}-{os.getpid()}-{next(_counter)}-{recipient}.eml"
        unfinished = path.with_suffix(".part")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(message.message().as_bytes())
        unfinished.rename(path)
