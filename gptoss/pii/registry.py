"""The kinds of personal data, in the order of detection.

To add one, write a module with a `PersonalDataKind`, list it here, and add its key to `PersonalDataConfig`.
"""

from __future__ import annotations

from gptoss.pii import contact, national_ids, payment, phones
from gptoss.pii.detector import PersonalDataKind

# The most specific kinds first, so that the digits of an account number are not taken for a telephone number.
KINDS: dict[str, PersonalDataKind] = {
    "email": contact.EMAILS,
    "ip": contact.IPS,
    "iban": payment.IBANS,
    "credit_card": payment.CREDIT_CARDS,
    "national_id": national_ids.NATIONAL_IDS,
    "phone": phones.PHONES,
}
"""Detectors by their key in `curate.personal_data`."""
