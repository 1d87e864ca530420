"""The bytes of the characters that kernels look for, by name.

Global integers are compile-time constants for Numba, so a name costs nothing. UTF-8 never uses bytes below 0x80 for any
other character: a comparison of one byte is a comparison of a character.
"""

from __future__ import annotations

LINE_FEED, VERTICAL_TAB, FORM_FEED, CARRIAGE_RETURN = 10, 11, 12, 13
FILE_SEPARATOR, RECORD_SEPARATOR = 28, 30
SPACE_BYTE = 32
EXCLAMATION_MARK, QUOTATION_MARK, HASH_SIGN, DOLLAR, PERCENT = ord("!"), ord('"'), ord("#"), ord("$"), ord("%")
APOSTROPHE, ASTERISK, PLUS, COMMA, HYPHEN = ord("'"), ord("*"), ord("+"), ord(","), ord("-")
FULL_STOP, SLASH, ZERO, NINE, COLON = ord("."), ord("/"), ord("0"), ord("9"), ord(":")
LESS_THAN, GREATER_THAN, QUESTION_MARK, AT_SIGN = ord("<"), ord(">"), ord("?"), ord("@")
UPPER_A, UPPER_C, UPPER_S, UPPER_U, UPPER_Z = ord("A"), ord("C"), ord("S"), ord("U"), ord("Z")
LEFT_BRACKET, RIGHT_BRACKET, CARET, UNDERSCORE = ord("["), ord("]"), ord("^"), ord("_")
LOWER_A, LOWER_S, LOWER_Z, TILDE = ord("a"), ord("s"), ord("z"), ord("~")
CASE_BIT = 0x20  # set in lower case ASCII letters, clear in upper case ones

FIRST_NON_ASCII = 0x80
CONTINUATION_MASK, CONTINUATION = 0xC0, 0x80  # bytes 10xxxxxx continue a character
# General punctuation U+2000 to U+203F is E2 80 xx: the last byte tells which.
PUNCTUATION_1, PUNCTUATION_2 = 0xE2, 0x80
APOSTROPHE_3, BULLET_3, ELLIPSIS_3 = 0x99, 0xA2, 0xA6  # U+2019, U+2022, U+2026
LINE_SEPARATOR_3, PARAGRAPH_SEPARATOR_3 = 0xA8, 0xA9  # U+2028, U+2029
NEXT_LINE_1, NEXT_LINE_2 = 0xC2, 0x85  # U+0085
