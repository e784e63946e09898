"""Words as tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamrnn as sr
from streamrnn.vocabulary import END, UNKNOWN


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
