"""The kinds of personal data, in the order in which they are looked for: the most specific first, so that the digits of
an account number are not taken for a telephone number."""

from __future__ import annotations

from gptoss.pii import contact, national_ids, payment, phones
from gptoss.pii.redact import Kind

KINDS: dict[str, Kind] = {
    "email": contact.EMAILS,
    "ip": contact.IPS,
    "iban": payment.IBANS,
    "credit_card": payment.CREDIT_CARDS,
    "national_id": national_ids.NATIONAL_IDS,
    "phone": phones.PHONES,
}
"""The keys of `curate.personal_data`."""
