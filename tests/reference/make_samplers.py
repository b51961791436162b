"""Write schedules and trajectories of diffusers' schedulers to `samplers.json`.

    python tests/reference/make_samplers.py

Needs torch and diffusers; made with diffusers 0.42.1 and PyTorch 2.14.1. diffusers computes in
float32. Here its names for that type are those of float64, so that rounding, which the first steps
amplify, does not hide differences. The denoiser is `tanh(x @ weights + bias * time / 1000)`.
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("samplers.json")
STEPS = 4  # so that evenly spread times are whole
SCHEDULES = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "scaled_linear": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
    },
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "sigmoid": {"beta_schedule": "sigmoid", "beta_start": 1e-4, "beta_end": 0.02},
}
TIMES = [0, 1, 10, 500, 998, 999]


def rounded(array):
    """Nested lists of a tensor, with 12 digits."""
    return json.loads(json.dumps(np.asarray(array).tolist()), parse_float=_rounded)


def _rounded(text):
    return float(f"{float(text):.12g}")


def main():
    """Write the file."""
    import torch

    torch.float32 = torch.float64
    np.float32 = np.float64
    torch.set_default_dtype(torch.float64)
    import diffusers
    from diffusers.schedulers import scheduling_ddpm

    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(3, 3)), rng.normal(size=3)
    start, random = rng.normal(size=(2, 3)), rng.normal(size=(STEPS, 2, 3))
    results = {
        "weights": rounded(weights),
        "bias": rounded(bias),
        "start": rounded(start),
        "random": rounded(random),
    }

    def denoise(x, time):
        bias_now = torch.tensor(results["bias"]) * float(time) / 1000
        return torch.tanh(x @ torch.tensor(results["weights"]) + bias_now)

    start, random = torch.tensor(results["start"]), torch.tensor(results["random"])

    schedules = {}
    for name, config in SCHEDULES.items():
        for zero in (False, True):
            scheduler = diffusers.DDPMScheduler(**config, rescale_betas_zero_snr=zero)
            noisy = [
                scheduler.add_noise(start, random[0], torch.tensor([time, time])) for time in TIMES
            ]
            schedules[f"{name} {int(zero)}"] = {
                "alpha_bars": rounded(scheduler.alphas_cumprod[TIMES]),
                "noisy": rounded(torch.stack(noisy)),
                "posterior_variances": rounded([scheduler._get_variance(t) for t in TIMES]),
            }
    results["schedules"] = schedules

    def trajectory(scheduler, scale=1.0, **more):
        numbers = iter(random)
        scheduling_ddpm.randn_tensor = lambda *args, **kwargs: next(numbers)
        if "sigmas" in more:
            scheduler.set_timesteps(sigmas=more["sigmas"])
        else:
            scheduler.set_timesteps(STEPS)
        x, found = start * scale, []
        for step, time in enumerate(scheduler.timesteps):
            arguments = dict(more.get("step", {}))
            if arguments.get("eta"):
                arguments["variance_noise"] = random[step]
            inputs = x
            if hasattr(scheduler, "scale_model_input"):
                inputs = scheduler.scale_model_input(x, time)
            x = scheduler.step(denoise(inputs, time), time, x, **arguments).prev_sample
            found.append(x)
        return rounded(torch.stack(found))

    linear, cosine = SCHEDULES["linear"], SCHEDULES["cosine"]
    trajectories = {}
    for kind, name in (("epsilon", "epsilon"), ("sample", "x0"), ("v_prediction", "v")):
        common = {**cosine, "prediction_type": kind, "timestep_spacing": "trailing"}
        if kind == "epsilon":  # whose first step by the cosine schedule divides by 5e-5
            common |= linear
        for variance in ("small", "large"):
            # diffusers adds noise in the last step unless it starts at time 0
            spacing = "leading" if variance == "large" else "trailing"
            settings = {**common, "timestep_spacing": spacing, "variance_type": f"fixed_{variance}"}
            scheduler = diffusers.DDPMScheduler(**settings)
            trajectories[f"DDPM {variance} {name}"] = trajectory(scheduler)
        for eta in (0.0, 0.7):
            trajectories[f"DDIM {eta} {name}"] = trajectory(
                diffusers.DDIMScheduler(**common), step={"eta": eta}
            )
        first = diffusers.DDPMScheduler(**common).alphas_cumprod[-1] ** 0.5
        for spacing in ("trailing", "linspace"):
            # these count x in units in which the data has the factor 1
            settings = {**common, "timestep_spacing": spacing}
            trajectories[f"Euler {spacing} {name}"] = trajectory(
                diffusers.EulerDiscreteScheduler(**settings), 1 / first
            )
        trajectories[f"Heun {name}"] = trajectory(
            diffusers.HeunDiscreteScheduler(**common), 1 / first
        )
        trajectories[f"DPMSolverPlusPlus2M {name}"] = trajectory(
            diffusers.DPMSolverMultistepScheduler(**common)
        )
    common = {**SCHEDULES["scaled_linear"], "prediction_type": "v_prediction"}
    trajectories["DDIM leading v"] = trajectory(
        diffusers.DDIMScheduler(**common, timestep_spacing="leading", clip_sample=False)
    )
    common = {**common, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
    trajectories["DDIM zero v"] = trajectory(diffusers.DDIMScheduler(**common, clip_sample=False))
    sigmas = np.linspace(1, 1 / STEPS, STEPS)
    trajectories["Euler velocity"] = trajectory(
        diffusers.FlowMatchEulerDiscreteScheduler(), sigmas=sigmas.tolist()
    )
    heun = diffusers.FlowMatchHeunDiscreteScheduler()
    heun.set_timesteps(STEPS)
    results["flow_heun_sigmas"] = rounded(heun.sigmas)
    trajectories["Heun velocity"] = trajectory(heun)
    results["trajectories"] = trajectories
    FILE.write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
