"""Known-bad models: of what a paper says of its good samples, next to nothing holds for blank, blurred or copied pictures."""

import shutil

import pytest
import torch
from torch import nn

import undrift as ud
from undrift.model import Model
from undrift.nn import UNetClassifier
from undrift.study import StudyContext, base, p003_fig6
from undrift.study.catalogue import STUDIES


class Points(nn.Module):
    """The exact denoiser of some pictures, of the class that is asked for: it draws these and no others."""

    def __init__(self, pictures, labels):
        super().__init__()
        self.register_buffer("pictures", pictures.flatten(1))
        self.register_buffer("labels", labels)
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, level, cond=None):
        ratio = (4 * level.float()).exp()[:, None]  # sigma/alpha
        seen = x.flatten(1) * (0.25 + ratio**2).sqrt()  # x_t/alpha: the network's input has unit variance
        logits = -torch.cdist(seen, self.pictures).square() / (2 * ratio**2)
        if cond is not None:
            known = cond.long()[:, None]
            logits = logits.masked_fill((known >= 0) & (known != self.labels), -torch.inf)
        return (logits.softmax(1) @ self.pictures).view_as(x) + 0 * self.unused


class Bad(StudyContext):
    """All models are one that draws made pictures."""

    def model(self, name):
        train, _ = self.data
        x, labels = train.batch(torch.arange(400))[0], torch.from_numpy(train.labels[:400])
        if self.kind == "blank":
            x = torch.full_like(x, -1.0)
        elif self.kind == "blurred":
            x = nn.functional.avg_pool2d(nn.functional.pad(x, (1, 1, 1, 1), value=-1.0), 3, 1)
        else:  # one of each class, of some two
            rows = torch.cat([(labels == k).nonzero()[:2, 0] for k in range(10)])
            x, labels = x[rows], labels[rows]
        process = {"001-smld": ud.SMLD(10, 0.02, 2.0), "001-ddpm": ud.DDPM(), "001-sde": ud.VP(t_min=1e-3)}.get(
            name, ud.VE(0.02, 20.0)
        )
        denoiser = ud.Denoiser(Points(x, labels), process, ud.target.data, 0.5, train.spec.shape).eval()
        self.used.append(self.kind)
        return Model(denoiser, train.spec, {}, trained={"examples": 1000, "seconds": 1.0, "steps": 1})

    @property
    def noisy_judge(self):
        torch.manual_seed(0)
        return ud.NoisyClassifier(UNetClassifier(1, 10, [8, 16]), ud.VE(0.02, 20.0), torch.ones(10), 0.5).eval()


@pytest.fixture(scope="module")
def contexts(judged_run, tmp_path_factory):
    made = {}
    for kind in ("blank", "blurred", "copied"):
        out = tmp_path_factory.mktemp(kind)
        shutil.copy(judged_run / "classifier.safetensors", out)
        made[kind] = Bad(out, effort=0.02, device="cpu")
        made[kind].kind = kind
    return made


def holding(study, context, monkeypatch):
    monkeypatch.setattr(p003_fig6, "perfect", lambda context, mask, x, y: torch.full((len(y),), 0.6).double())
    context.begin()
    found = STUDIES[study].judge(STUDIES[study].measure(context))
    return [f.says for f in found if f.verdict == "holds" and f.kind == base.PAPER]


# What holds of them all the same, and why that is right.
MAY = {
    ("000-fig2", "blurred"): [
        "ten samples are 0.87 to 0.96"
    ],  # blurred digits have such cosines; that they are alike does not hold
    ("001-table1", "copied"): ["samples of DDPM look like digits"],  # copies do
    ("003-fig1", "copied"): ["digits “are not as sharp"],  # by so few moves a grain is left
    ("003-fig2", "copied"): ["“sharper samples than with Langevin"],
    ("003-fig3", "copied"): ["samples “are not realistic”", "“although sharp”"],  # of twenty pictures alone
    ("004-tradeoff", "copied"): ["guidance leads to “better individual"],
    ("004-tradeoff", "blurred"): ["“but less sample diversity”"],  # of blurred digits guidance takes it, too
    ("004-triangle", "copied"): ["sampling is slow"],
    ("001-figs5-7", "blurred"): ["SMLD denoises gradually"],  # by a judge of noisy digits that is itself untrained
} | {("000-two-guides", kind): ["to differentiate the classifier “is costly”"] for kind in ("blank", "blurred", "copied")}


@pytest.mark.parametrize("kind", ["blank", "blurred", "copied"])
@pytest.mark.parametrize("study", [name for name, study in STUDIES.items() if not study.toy])
def test_next_to_nothing_holds_of_a_bad_model(study, kind, contexts, monkeypatch):
    """A fiftieth of a study's samples and steps is enough: these are nowhere near."""
    held, may = holding(study, contexts[kind], monkeypatch), MAY.get((study, kind), [])
    assert [says for says in held if not says.startswith(tuple(may) or ("-",))] == []
