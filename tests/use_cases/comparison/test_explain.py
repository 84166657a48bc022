"""The sentence says what the numbers say."""

from tests.use_cases.comparison.questions import column
from use_cases.comparison.explain import column_name, explain

CLIP = column("clip", "softmax", [("cat", 0.7, 0.7, 0.3), ("dog", 0.2, 0.2, 0.2), ("bird", 0.1, 0.1, 0.1)])


def sig(*labels, **options):
    return column(options.pop("model", "sig"), "sigmoid", labels, **options)


def test_the_same_order_where_the_sigmoid_says_that_none_fits():
    sentence = explain([sig(("cat", 0.03, 0.8, 0.2), ("dog", 0.01, 0.15, 0.1), ("bird", 0, 0.05, 0)), CLIP])
    assert "sig and clip rank all labels alike, “cat” first" in sentence
    assert "says that none fits (best probability 3.0 %)" in sentence
    assert "must share out 100 %, and gives 70.0 % to “cat”" in sentence
    assert sentence.endswith(".")
    assert "tie" not in sentence


def test_the_label_whose_ranks_differ_most_is_named():
    columns = [sig(("bird", 0.9, 0.9, 0.4), ("dog", 0.1, 0.07, 0.1), ("cat", 0.05, 0.03, 0)), CLIP]
    sentence = explain(columns)
    assert "sig puts “bird” first, clip “cat”" in sentence
    assert "differ most for “bird” (#1 against #3)" in sentence
    assert "judges “bird” alone (90.0 %)" in sentence


def test_several_labels_may_fit_for_a_sigmoid_alone():
    sentence = explain([sig(("cat", 0.9, 0.6, 0.4), ("dog", 0.8, 0.35, 0.3), ("bird", 0, 0.05, 0)), CLIP])
    assert "finds that 2 fit" in sentence
    assert "share 100 % among all 3" in sentence


def test_a_near_tie_is_called_one():
    sentence = explain([sig(("cat", 0.9, 0.45, 0.31), ("dog", 0.9, 0.44, 0.3), ("bird", 0, 0.1, 0)), CLIP])
    assert "with sig it is nearly a tie, “cat” and “dog” are 0.0100 of a cosine apart" in sentence


def test_small_shares_are_a_tie_by_their_ratio_alone():
    far = [("cat", 0.9, 0.03, 0.31), ("dog", 0.1, 0.01, 0.2), ("bird", 0, 0.005, 0)]  # of very many labels
    near = [("cat", 0.9, 0.03, 0.31), ("dog", 0.9, 0.028, 0.309), ("bird", 0, 0.005, 0)]
    assert "tie" not in explain([sig(*far), CLIP])
    assert "with sig it is nearly a tie, “cat” and “dog” are 0.0010 of a cosine apart" in explain(
        [sig(*near), CLIP]
    )


def test_two_engines_of_one_model_differ_by_their_number_formats():
    one = sig(("cat", 0.9, 0.9, 0.4), ("dog", 0.1, 0.1, 0.1))
    two = sig(("cat", 0.9, 0.9, 0.398), ("dog", 0.1, 0.1, 0.101), engine="onnx-int4")
    sentence = explain([one, two])
    assert "sig on onnx-fp32 and sig on onnx-int4 rank all labels alike" in sentence
    assert "differ by at most 0.0020 between the engines' number formats" in sentence
    assert column_name(one, [one, CLIP]) == "sig"


def test_two_models_of_one_kind_differ_in_space_and_temperature():
    other = sig(("cat", 0.4, 0.9, 0.4), ("dog", 0.3, 0.1, 0.1), model="other")
    sentence = explain([sig(("cat", 0.9, 0.9, 0.4), ("dog", 0.2, 0.1, 0.1)), other])
    assert "both scores are a sigmoid's, and differ most for “cat” (90.0 % against 40.0 %)" in sentence


def test_of_several_columns_a_sigmoid_and_a_softmax_are_compared_else_those_that_disagree_most():
    a = sig(("x", 0.9, 0.9, 0.4), ("y", 0.1, 0.1, 0.1), model="a")
    b = sig(("x", 0.9, 0.9, 0.4), ("y", 0.1, 0.1, 0.1), model="b")
    c = sig(("y", 0.9, 0.9, 0.4), ("x", 0.1, 0.1, 0.1), model="c")
    assert explain([a, b, c]).startswith("a puts “x” first, c “y”")
    clip = column("clip", "softmax", [("x", 0.5, 0.9, 0.4), ("y", 0.5, 0.1, 0.1)])
    assert "sigmoid of a" in explain([a, b, c, clip])


def test_one_label_and_one_column():
    alone = [sig(("cat", 0.03, 1.0, 0.1)), column("clip", "softmax", [("cat", 1.0, 1.0, 0.2)])]
    assert explain(alone) == (
        "With a single label the sigmoid of sig says 3.0 % and the softmax of clip says 100.0 % whatever the"
        " image shows."
    )
    assert "nothing to compare yet" in explain([CLIP])
    assert "nothing to compare yet" in explain([])


def test_long_labels_are_cut():
    long = "x" * 200
    columns = [sig((long, 0.9, 0.9, 0.4), ("y", 0, 0.1, 0)), sig((long, 0.9, 0.9, 0.4), ("y", 0, 0.1, 0))]
    assert "x" * 41 not in explain(columns)
