"""Generated texts are current."""

from __future__ import annotations

import re

from tests import generated


def test_settings_page_is_current() -> None:
    assert generated.SETTINGS.read_text() == generated.settings_page(), "run `make generate`"


def test_readme_blocks_are_current() -> None:
    assert generated.README.read_text() == generated.readme(), "run `make generate`"


def test_nats_accounts_are_current() -> None:
    assert generated.ACCOUNTS.read_text() == generated.accounts.accounts_conf(), "run `make generate`"


def test_every_setting_that_the_readme_names_exists() -> None:
    known = {section.variable(name) for section in generated.SECTIONS for name in section.model_fields}
    named = set(re.findall(r"TAPELINE_[A-Z_]+", generated.README.read_text()))
    assert named <= known, named - known
