"""What an experiment learns."""


def test_training_alone_draws_rows_that_train(blobs):
    split = blobs.only_training(20).split
    assert len(set(split.train.tolist())) == 20
    assert set(split.train.tolist()) <= set(blobs.split.train.tolist())
    assert len(split.val) == 0


def test_rows_are_drawn_from_all_over(blobs):
    assert blobs.only_training(20).split.train.max() > 60


def test_no_more_rows_train_than_there_are(blobs):
    assert sorted(blobs.only_training(1000).split.train.tolist()) == list(range(90))
