"""What of the nnU-Net run can be tested without a run of minutes."""

import torch
from VirtualContrastTrainingLib.trainers.nnunet import half_precision


def test_weights_that_change_within_a_half_precision_run_are_used():
    layer = torch.nn.Linear(1, 1, bias=False)
    one = torch.ones(1, 1)
    with half_precision(True):
        layer.weight.data.fill_(1.0)
        before = layer(one)
        layer.weight.data.fill_(3.0)
        after = layer(one)
    assert before.dtype == torch.bfloat16
    assert (before.item(), after.item()) == (1.0, 3.0)
