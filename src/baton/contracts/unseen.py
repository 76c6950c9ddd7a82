"""Characters that nobody sees: a text of nothing else is empty. Served models carry this module."""

# Invisible characters (Unicode's default ignorable code points, except tags and emoji variation selectors,
# which change what is displayed), and control characters.
_UNSEEN_RANGES = [
    (0x00, 0x20),
    (0x7F, 0xA0),
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
]
_UNSEEN_RANGES += [
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
]
_UNSEEN_RANGES += [(0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8)]
_SPACES = "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_SPACES += "\u2028\u2029\u202f\u205f\u2800\u3000"
UNSEEN = _SPACES + "".join(chr(code) for first, last in _UNSEEN_RANGES for code in range(first, last + 1))
