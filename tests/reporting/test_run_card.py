from tltool.reporting.run_card import run_card

CONFIG = {
    "seed_everything": 3,
    "model": {
        "backbone": {"init_args": {"name": "resnet18", "weights": "random", "surgery": []}},
        "head": {"class_path": "tltool.Head", "init_args": {"activation": "gelu", "dropout": 0.0}},
    },
    "data": {"init_args": {"batch_size": 32, "augmentation": "crop"}},
    "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "nesterov": False}},
    "finetuning": {"class_path": "tltool.finetuning.strategies.LPFT", "init_args": {}},
}
CHECKPOINT = {
    "run_facts": {"versions": {"torch": "2.14.1"}, "commit": "abc", "world_size": 2},
    "callbacks": {"StepTrace": {"steps": [], "machine": {"device": "NVIDIA H200"}}},
}


def test_a_card_says_what_was_trained_on_what():
    card = run_card(CONFIG, CHECKPOINT, images="10 train", input_size=(3, 64, 32), seconds=90)
    assert dict(card.rows) == {
        "backbone": "resnet18, weights random, 64 x 32 px",
        "head": "linear()",
        "objective": "single label",
        "fine-tuning": "LPFT()",
        "optimizer": "SGD(lr=0.1)",
        "batch": "32 images on all devices together",
        "augmented": "crop",
        "images": "10 train",
        "seed": "3",
        "devices": "2 of NVIDIA H200",
        "minutes": "1.5",
        "versions": "torch 2.14.1",
        "commit": "abc",
    }


def test_a_head_with_hidden_layers_is_shown_as_it_is_called():
    head = {"class_path": "tltool.Head", "init_args": {"hidden_features": [4], "norm": "batch"}}
    model = CONFIG["model"] | {"head": head}
    card = dict(run_card(CONFIG | {"model": model}, {}, input_size=(3, 64, 64)).rows)
    assert card["head"] == "Head(hidden_features=[4], norm=batch)"


def test_of_weights_that_were_left_out_the_source_is_shown():
    backbone = {"init_args": {"name": "pixels", "weights": "auto"}}
    config = CONFIG | {"model": CONFIG["model"] | {"backbone": backbone}}
    assert (
        run_card(config, {}, input_size=(3, 8, 8)).rows[0][1]
        == "pixels, weights auto (random), 8 px"
    )


def test_what_is_not_known_is_said():
    card = dict(run_card(CONFIG, {}, input_size=(3, 64, 64)).rows)
    assert (card["images"], card["minutes"], card["commit"]) == ("unknown",) * 3
