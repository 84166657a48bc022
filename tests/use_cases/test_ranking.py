"""Ranks by cosines: ties are lost wherever their columns stand, and NaN finds nothing."""

import numpy as np
import pytest

from engines.base import normalize
from use_cases.ranking import best_ranks, cosines


def rows(count, dim, seed=0):
    return normalize(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


@pytest.mark.parametrize(("count", "dim"), [(20, 384), (100, 512), (50, 768), (166, 512)])
def test_equal_answers_have_equal_cosines_wherever_they_stand(count, dim):
    answers, queries = rows(count, dim), rows(count, dim, seed=1)
    order = np.random.default_rng(2).permutation(2 * count)
    twice = np.concatenate([answers, answers])[order]
    scores = cosines(queries, twice)
    np.testing.assert_allclose(scores, queries @ twice.T, atol=1e-6)
    place = np.argsort(order)
    assert (scores[:, place[:count]] == scores[:, place[count:]]).all()
    right = np.zeros((count, 2 * count), bool)
    right[np.arange(count), place[:count]] = True
    assert (best_ranks(scores, right) >= 2).all()


def test_different_answers_keep_the_plain_product():
    answers, queries = rows(7, 5), rows(3, 5, seed=1)
    assert (cosines(queries, answers) == queries @ answers.T).all()


def test_a_rank_counts_wrong_answers_alone_and_a_tie_is_lost():
    scores = np.array([[0.9, 0.8, 0.1], [0.5, 0.5, 0.2], [0.1, 0.2, 0.3]], np.float32)
    right = np.array([[False, True, True], [True, False, False], [True, False, False]])
    assert best_ranks(scores, right).tolist() == [2, 2, 3]


def test_an_answer_without_a_number_is_never_found_and_harms_no_other():
    scores = np.array([[0.9, np.nan, 0.1], [0.5, np.nan, 0.2], [0.5, np.nan, 0.2]], np.float32)
    right = np.array([[True, False, False], [False, True, False], [False, True, True]])
    assert best_ranks(scores, right).tolist() == [1, 3, 2]
