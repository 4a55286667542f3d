"""What a way of drawing times is worth: the variance of the bound-weighted loss of a batch, and of the bound itself.

    python bench/objective_variance.py [--batch 256 --repeats 300]

All on an exact denoiser (a Gaussian mixture in the plane), so nothing but the draw of times and noise varies. "gain" is the
variance of independent uniform times over that of the row: how many times smaller a batch would do.
"""

import argparse

import torch

import undrift as ud
from undrift.objective import quantile

PROCESSES = {
    "VP": ud.VP(t_min=1e-3),
    "Rectified": ud.Rectified(t_min=1e-3, t_max=0.999),
    "Cosine": ud.Cosine(t_min=1e-3, t_max=0.99),
}


def mixture(process: ud.Process) -> ud.GaussianMixture:
    return ud.GaussianMixture([[1.5, 0.5], [-1.0, -0.5]], 0.4, [0.3, 0.7], process)


def losses(m: ud.GaussianMixture, times: str, batch: int, repeats: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Batch means of the bound-weighted noise error with drawn noise, and with the expected error at each time instead."""
    process = m.process
    table = torch.linspace(process.t_min, process.t_max, 400, dtype=torch.float64)
    x0 = m.sample(2000, ud.Noise(range(2000)).fold("table"))

    def weight(p: ud.Process, t: torch.Tensor) -> torch.Tensor:
        (alpha, sigma), (dalpha, dsigma) = p(t), p.rates(t)
        return dsigma / sigma - dalpha / alpha

    expected = []
    for t in table:
        eps = ud.Noise(range(2000)).fold("table eps").normal(x0)
        expected.append((m(process.perturb(x0, t, eps), t).noise - eps).square().sum(1).mean())
    curve = torch.stack(expected)
    drawn, smooth = [], []
    for k in range(repeats):
        noise = ud.Noise(range(batch)).fold("bench", k)
        if times == "importance":
            u = noise.fold("time").uniform(torch.empty(batch).double())
            t, ratio = quantile.by_mass(process, weight, u)
        else:
            t = quantile.draw(process, times, noise)
            ratio = torch.ones_like(t)
        y = m.sample(batch, noise)
        eps = noise.fold("eps").normal(y)
        error = (m(process.perturb(y, t, eps), t).noise - eps).square().sum(1)
        place = ((t - process.t_min) / (process.t_max - process.t_min) * 399).clamp(0, 398.999)
        mean = torch.lerp(curve[place.long()], curve[place.long() + 1], place.frac())
        factor = weight(process, t) * ratio * (process.t_max - process.t_min)
        drawn.append((factor * error).mean())
        smooth.append((factor * mean).mean())
    return torch.stack(drawn), torch.stack(smooth)


def learned(batch: int, steps: int = 400) -> list[tuple[str, float]]:
    """Standard deviation of one draw of the bound's integral, before and after learning the schedule."""
    torch.manual_seed(0)
    process = ud.Learned()
    m, rows, optimizer = mixture(process), [], torch.optim.Adam(process.curve.parameters(), 0.05)
    test = m.sample(20_000, ud.Noise(range(20_000)))

    def deviation() -> float:
        with torch.no_grad():
            noise = ud.Noise(range(20_000)).fold("test")
            return ud.ScheduleVariance("uniform").integrand(m, test, noise).std().item()

    rows.append(("straight log-SNR", deviation()))
    for step in range(steps):
        noise = ud.Noise(range(batch)).fold("schedule", step)
        optimizer.zero_grad()
        ud.ScheduleVariance()(m, m.sample(batch, noise), noise).mean().backward()
        optimizer.step()
    rows.append((f"learned, {steps} steps", deviation()))
    for name, fixed in (("VP", ud.VP()), ("Cosine", ud.Cosine())):
        ends = fixed.time(torch.tensor([12.0, -9.0], dtype=torch.float64)).tolist()
        cut = type(fixed)(t_min=ends[0], t_max=ends[1])
        with torch.no_grad():
            noise = ud.Noise(range(20_000)).fold("test")
            values = ud.ScheduleVariance("uniform").integrand(mixture(cut), test, noise)
        rows.append((f"{name}, same ends", values.std().item()))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args()
    print(f"standard deviation of a batch mean of {options.batch}, {options.repeats} batches; nats")
    print(f"{'process':<10} {'times':<16} {'mean':>8} {'std':>8} {'gain':>7}   {'std, times only':>15} {'gain':>8}")
    for name, process in PROCESSES.items():
        base = None
        for times in ("uniform", "low_discrepancy", "importance"):
            drawn, smooth = losses(mixture(process), times, options.batch, options.repeats)
            spread = drawn.std().item(), smooth.std().item()
            base = base or spread
            gains = [(b / s) ** 2 for b, s in zip(base, spread, strict=True)]
            figures = f"{drawn.mean().item():8.3f} {spread[0]:8.4f} {gains[0]:7.1f}   {spread[1]:15.4f} {gains[1]:8.1f}"
            print(f"{name:<10} {times:<16} {figures}")
    print("\none draw of the continuous-time bound's integral, log-SNR from 12 to -9")
    rows = learned(options.batch)
    for label, deviation in rows:
        print(f"{label:<22} std {deviation:7.2f} nats, variance {(deviation / rows[0][1]) ** 2:7.2f} of the straight one's")
    m = mixture(ud.VP())
    x0 = m.sample(2000, ud.Noise(range(2000)))
    print("\nvariational_bound(points=32): mean and standard deviation over 2000 samples minus -log p, nats")
    for where in ("uniform", "importance", "low_discrepancy"):
        gap = ud.variational_bound(m, x0, times=where).value + m.log_prob(x0)
        print(f"{where:<22} {gap.mean().item():7.3f} {gap.std().item():7.2f}")


if __name__ == "__main__":
    main()
