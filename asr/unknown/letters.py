"""From letters to phones by rules, for names and for spellings of what was heard.

Two readings: as English is read, and as most other languages in Latin letters are ("j" as in Jung or Juan, every
vowel sounded). Rules are tried in order at each place, as those of Elovitz et al. ("Letter-to-sound rules for automatic
translation of English text to phonetics", 1976), which are many more; here both sides of a comparison go through the
same rules, so that what matters is that spellings of one sound meet, not that each is right.
"""

from __future__ import annotations

import functools
import re
import unicodedata

Rule = tuple[re.Pattern[str], str]

# letters | phones; "^" and "$" are the word's ends, "(?=...)" and "(?<=...)" look at neighbours.
_ENGLISH = """
^kn|n  ^gn|n  ^pn|n  ^ps|s  ^wr|r  ^x|z  ^mc(?=[^aeiou])|mək  ^mac(?=[^aeiouk])|mək  ^wh(?=o)|h  wh|w  ^rh|r
tch|ʧ  sch|ʃ  (?<=s)ch|k  ch(?=[rlnm])|k  ^ch(?=ri)|k  cch|k  ch|ʧ  ck|k  cq|k  cc(?=[eiy])|ks  c(?=[eiy])|s  c|k
dge|ʤ  dg(?=[iy])|ʤ  dj|ʤ  d|d
ght|t  gh(?=$)|  ^gh|ɡ  gh(?=t)|  gh|ɡ  gn(?=$)|n  gg|ɡ  gu(?=[ei])|ɡ  ^g(?=[eiy][^r])|ʤ  g(?=e$|es$|i[ao]|y$)|ʤ  g|ɡ
ph|f  pp|p  p|p  bb|b  mb$|m  b|b  ff|f  f|f  th|θ  tt|t  ti(?=on|al$|an$)|ʃ  ture$|ʧə  ts(?=ch)|  t|t
ssi(?=on)|ʃ  sh|ʃ  ss|s  si(?=on)|ʒ  (?<=[aeiouy])s(?=[aeiouy])|z  (?<=[bdgmnlrv])s$|z  sc(?=[eiy])|s  s|s
zz|z  z|z  xx|ks  x(?=$)|ks  x|ks  qu|kw  q|k  kk|k  kh|k  k|k  j|ʤ  v|v  hh|h  h$|  (?<=[aeiou])h(?=[^aeiouy])|  h|h
ng(?=[aeiou])|ŋɡ  nk|ŋk  ng|ŋ  nn|n  n|n  mm|m  mn$|m  m|m  ll|l  l(?=[kmf]$)|  l|l  rr|r  r|r  w(?=$)|  w|w
oo(?=k)|ʊ  oo|u  oa|o  ou(?=s$)|ə  ough$|o  ould|ʊd  ou(?=[lr])|ɔ  ou|aʊ  oi|ɔɪ  oy|ɔɪ  ow(?=$)|o  ow(?=[nlsd])|aʊ  ow|o
oe$|o  oe|o  ee|i  ea(?=r[ntl])|ɜ  eau|o  ea(?=d|th)|ɛ  ea|i  ei(?=gh)|e  eigh|e  ei|aɪ  ey$|i  ey|e  eu|ju  ew|u  eo|iə
ai|e  ay|e  au|ɔ  aw|ɔ  ae|e  aa|ɑ  ie$|i  ie|i  igh|aɪ  ui|u  ue$|u  uy|aɪ  ya(?=$)|jə
er(?=$|[^aeiouy])|ɜ  ir(?=$|[^aeiouy])|ɜ  ur(?=$|[^aeiouy])|ɜ  ear|ɪr  or(?=$|[^aeiouy])|ɔr  ar(?=$|[^aeiouy])|ɑr
a(?=[bcdfgklmnpstvz]e$)|e  i(?=[bcdfgklmnpstvz]e$)|aɪ  o(?=[bcdfgklmnpstvz]e$)|o  u(?=[bcdfgklmnpstvz]e$)|u
e(?=[bcdfgklmnpstvz]e$)|i  (?<=[a-z][bcdfgjklmnprstvwxz])e$|  (?<=[lmnrtvk])es$|z  le$|əl
^y(?=[aeiou])|j  y(?=[aeiou])|j  y$|i  y|ɪ  a$|ə  a(?=ll|lk)|ɔ  a(?=[bcdfgklmnprstvz][aeiouy])|e  a|æ
e$|i  e|ɛ  i$|i  i(?=nd$|ld$)|aɪ  i(?=[aeou])|i  i|ɪ  o$|o  o(?=[bcdfgklmnprstvz][aeiouy])|o  o|ɑ
u$|u  u(?=[bcdfgklmnprstvz][aeiouy])|u  u|ʌ
"""
_OTHER = """
sch|ʃ  tsch|ʧ  tch|ʧ  tz|ts  ts|ts  sh|ʃ  sz|ʃ  cz|ʧ  ch|k  ck|k  cc(?=[ei])|ʧ  c(?=[eiy])|ʧ  c|k  cq|k
gli(?=[aeo])|lj  gn|nj  gh|ɡ  gu(?=[ei])|ɡ  gg|ɡ  g|ɡ  dj|ʤ  dd|d  d|d  ph|f  pp|p  p|p  bb|b  b|b  ff|f  f|f
th|t  tt|t  t|t  ss|s  sc(?=[ei])|ʃ  s|s  zz|ts  z|z  x|ks  qu(?=[ei])|k  qu|kw  q|k  kh|k  kk|k  k|k
^j(?=[aou])|h  j|j  v|v  w|v  ^h(?=[aeiou])|h  h|  ng|ŋ  nn|n  n|n  mm|m  m|m  ll|j  l|l  rr|r  r|r
eau|o  ei|aɪ  ey|e  eu|ɔɪ  ee|e  ea|ea  ou|u  oo|o  oe|ɜ  oi|wa  ai|aɪ  ay|aɪ  au|aʊ  aa|ɑ  ae|ɛ  ie|i  ia|ia  ue|ue
ui|wi  ^y|j  y(?=[aeou])|j  y|i  a|a  e|e  i|i  o|o  u|u
"""
_DOUBLED = re.compile(r"([^ɪʊ])\1+")


def _rules(text: str) -> tuple[Rule, ...]:
    pairs = (rule.rpartition("|") for rule in text.split())
    return tuple((re.compile(letters), phones) for letters, _, phones in pairs)


READINGS = (_rules(_ENGLISH), _rules(_OTHER))


def pronounce(text: str) -> tuple[str, ...]:
    """How a text may sound: strings of phones (see `asr.unknown.phones`), words without a pause between.

    Args:
        text: letters of any case; accents are dropped, everything else separates words.

    Returns:
        As English is read, and as other languages are where that differs; ``("",)`` if there is no letter.
    """
    plain = unicodedata.normalize("NFKD", text.lower()).replace("ß", "ss").replace("'", "").replace("ø", "o")
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    words = re.findall("[a-z]+", plain)
    read = ("".join(_read(word, reading) for word in words) for reading in range(len(READINGS)))
    return tuple(dict.fromkeys(_DOUBLED.sub(r"\1", phones) for phones in read))


@functools.lru_cache(maxsize=65_536)
def _read(word: str, reading: int) -> str:
    phones, place = "", 0
    while place < len(word):
        for letters, sound in READINGS[reading]:
            # Looks behind see what is before `place`; "^" matches at the word's beginning only.
            if (found := letters.match(word, place)) and found.end() > place:
                phones, place = phones + sound, found.end()
                break
        else:
            place += 1
    return phones
