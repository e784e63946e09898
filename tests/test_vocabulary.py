"""Words as tokens."""

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamrnn as sr
from streamrnn.model.vocabulary import END, UNKNOWN


def test_words_get_tokens_as_they_come_until_there_are_no_more():
    vocabulary = sr.Vocabulary(5)
    assert vocabulary.tokens("The cat, the") == [2, 3, 4, 2, END]
    assert vocabulary.tokens("the dog") == [2, UNKNOWN, END]
    assert vocabulary.words == ["the", "cat", ","]


def test_without_learning_new_words_are_unknown():
    vocabulary = sr.Vocabulary(10, ["a"])
    assert vocabulary.tokens("a b", learn=False) == [2, UNKNOWN, END]
    assert vocabulary.words == ["a"]


def test_a_text_comes_back_up_to_its_end():
    vocabulary = sr.Vocabulary(10, ["a", "b"])
    assert vocabulary.text([2, UNKNOWN, 3, 9, END, 2]) == "a ? b ?"


@given(st.lists(st.text(), max_size=5), st.integers(2, 12))
def test_kept_words_are_as_good_as_the_vocabulary(texts, size):
    vocabulary = sr.Vocabulary(size)
    for text in texts:
        assert all(0 <= token < size for token in vocabulary.tokens(text))
    again = sr.Vocabulary(size, vocabulary.words)
    for text in texts:
        assert again.tokens(text, learn=False) == vocabulary.tokens(text)


@pytest.mark.parametrize(("size", "words"), [(3, ["a", "b"]), (9, ["a", "a"]), (1, [])])
def test_words_that_do_not_fit_are_refused(size, words):
    with pytest.raises(ValueError, match="do not fit into"):
        sr.Vocabulary(size, words)


SCRIPTS = [
    ("हिन्दी भाषा", 2),  # vowel signs and viramas
    ("বাংলা ভাষা", 2),
    ("தமிழ் மொழி", 2),
    ("ශ්‍රී ලංකා", 2),  # a joiner within a word
    ("می‌خواهم بروم", 2),  # a non-joiner within a word
    ("السَّلَامُ عَلَيْكُمْ", 2),  # vowel points
    ("שָׁלוֹם עוֹלָם", 2),
    ("ру́сский язы́к", 2),  # stress marks that no composed character has
    ("한국어 말", 2),
    ("カタカナ", 1),
    ("日本", 2),  # without spaces: a character each
    ("don't l’été", 2),
    ("3.14 1,000 a_b", 3),
    ("quarante-deux", 3),
    ("what? no!", 4),
    ("👩‍👩‍👧 🇫🇷", 2),
    ("\ufeffone\u200b two\r\n\tthree\xa0four", 4),  # a byte order mark and kinds of spaces
    ("", 0),
    (" \n", 0),
]


@pytest.mark.parametrize(("text", "count"), SCRIPTS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_end_where_unicode_says(text, count, form):
    tokens = sr.Vocabulary(20).tokens(normalize(form, text))
    assert tokens == [*range(2, 2 + count), END]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "Σίσυφος"),
        ("ﬁn", "FIN"),
        ("İstanbul", "i\u0307stanbul"),
        ("Ёжик", "е\u0308жик"),
        ("Tiếng", normalize("NFD", "TIẾNG")),
        ("한국", normalize("NFD", "한국")),
        ("5 Å", "5 \u212b"),  # the sign of the unit
        ("ᾳ", "ΑΙ"),
        ("Եւ", "և"),
    ],
)
def test_case_and_encoding_do_not_count(one, other):
    vocabulary = sr.Vocabulary(20)
    assert vocabulary.tokens(one) == vocabulary.tokens(other, learn=False)
    words = other.split()
    assert UNKNOWN not in sr.Vocabulary(20, words).tokens(one, learn=False)
    assert all(word == normalize("NFC", word) for word in vocabulary.words)
