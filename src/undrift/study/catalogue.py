"""All studies by name, and the experiments of the papers that are out of reach, with the reason."""

from __future__ import annotations

from undrift.error import UndriftError, nearest
from undrift.study import (
    p000_fig2,
    p000_fig3_guidance,
    p000_fig3_steps,
    p000_fig4,
    p000_model,
    p000_two_guides,
    p001_fig3,
    p001_fig4,
    p001_figs5to7,
    p001_langevin,
    p001_shorten,
    p001_table1,
    p002_algorithms,
    p003_correctors,
    p003_fig1,
    p003_fig2,
    p003_fig3,
    p003_fig4,
    p003_fig5,
    p003_fig6,
    p004_algorithms,
    p004_langevin,
    p004_tradeoff,
    p004_triangle,
)
from undrift.study.base import Study

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        p000_model.STUDY, p000_fig2.STUDY, p000_fig3_steps.STUDY, p000_fig3_guidance.STUDY, p000_fig4.STUDY,
        p000_two_guides.STUDY,
        p001_fig3.STUDY, p001_fig4.STUDY, p001_langevin.STUDY, p001_figs5to7.STUDY, p001_table1.STUDY, p001_shorten.STUDY,
        p002_algorithms.STUDY,
        p003_fig1.STUDY, p003_fig2.STUDY, p003_fig3.STUDY, p003_fig4.STUDY, p003_correctors.STUDY, p003_fig5.STUDY, p003_fig6.STUDY,
        p004_algorithms.STUDY, p004_langevin.STUDY, p004_tradeoff.STUDY, p004_triangle.STUDY,
    )
}  # fmt: skip

OUT_OF_REACH = {
    "X18": "002: the “Pembroke Welsh corgi” at classifier scale 1 (FID 33.0) is a quoted picture of a model of ImageNet at "
    "256 x 256 pixels, whose data and weights are not here; the method is studied in 003-fig5, at a size that can be trained here",
    "X19": "004: “a stained glass window of a panda eating bamboo” and six more prompts are quoted pictures of text-to-image "
    "giants; the method is studied in 004-tradeoff, and a small model that reads text is the recipe captions",
    "E10": "001 regrets having no comparison with GANs and VAEs: neither is a diffusion model, none is built here, and published "
    "figures are of other data in other features",
    "001 Fig. 2": "colours from grey are a quoted picture of photographs; a model that is told a grey picture is "
    "condition.kind=measured",
}


def named(name: str) -> list[Study]:
    """The studies that a name stands for: one, or all of them for "all".

    Raises:
        UndriftError: an unknown name; the nearest is named.
    """
    if name == "all":
        return list(STUDIES.values())
    if name not in STUDIES:
        raise UndriftError(f'study "{name}" is unknown{nearest(name, [*STUDIES, "all", "list"])}')
    return [STUDIES[name]]
