"""The kinds of personal data, in the order in which they are looked for: the most specific first, so that the digits of
an account number are not taken for a telephone number."""

from __future__ import annotations

from stages.curate import accounts, addresses, national_ids, phones
from stages.curate.redact import Kind

KINDS: dict[str, Kind] = {
    "email": addresses.EMAILS,
    "ip": addresses.IPS,
    "iban": accounts.IBANS,
    "credit_card": accounts.CREDIT_CARDS,
    "national_id": national_ids.NATIONAL_IDS,
    "phone": phones.PHONES,
}
"""The keys of `curate.personal_data`."""
