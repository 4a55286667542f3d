"""Three tiers of tests.

`make test-fast` runs `FAST`: one law, one order, one of each kind, and every room of the house at least once. `make test` runs all but
`SLOW`: what starts many programs, kills them, fills disks, compiles, or trains for long; `make test-slow` runs these.

A file stands for all of its tests; `file::test` for one function; of a product of parameters as many are taken as the number says.
"""

FAST: dict[str, int | None] = {
    "test_process.py::test_known_formulas": None,
    "test_process.py::test_transitions_compose": 4,
    "test_denoiser.py::test_solve_inverts_every_target": 6,
    "test_denoiser.py::test_score_and_velocity_of_the_exact_mixture": 2,
    "test_noise.py": None,
    "test_times.py": 20,
    "test_condition.py": 10,
    "test_names.py::test_the_import_loads_no_torch": None,
    "test_names.py::test_what_things_say_of_themselves": None,
    "test_asked.py": None,
    "test_api_pages.py": None,
    "test_storage.py": 10,
    "test_schema.py": 10,
    "test_earlier.py::test_an_earlier_model_draws_what_it_drew": 2,
    "sampler/test_laws.py::test_the_law_is_the_mixture": 1,
    "sampler/test_orders.py::test_strong_order": 2,
    "sampler/test_orders.py::test_weights_integrate_polynomials": None,
    "objective/test_denoising.py::test_the_exact_denoiser_is_the_minimum": None,
    "objective/test_denoising.py::test_loss_in_any_space_from_any_output": 3,
    "objective/test_score.py::test_implicit_is_explicit_plus_a_constant": 1,
    "guidance/test_mix.py::test_guided_score_is_the_classifier_form": None,
    "guidance/test_mix.py::test_w_is_the_papers_convention": None,
    "imputation/test_known.py::test_known_values_come_back_bit_for_bit": 2,
    "inverse/test_posterior.py::test_the_shift_is_bayes": None,
    "inverse/test_operator.py": 5,
    "likelihood/test_density.py::test_the_flow_gives_the_density_of_a_mixture": 1,
    "likelihood/test_density.py::test_fourth_order_in_the_steps": None,
    "metrics/test_distance.py::test_energy_of_two_points_by_hand": None,
    "metrics/test_frechet.py::test_frechet_between_gaussians_whose_covariances_do_not_commute": None,
    "tuning/test_choice.py": None,
    "nn/test_nn.py": 5,
    "data/test_spec.py": 20,
    "data/test_axes.py": 10,
    "recipe/test_objectives.py": 5,
    "recipe/test_recipe.py": 10,
    "plot/test_show.py": None,
    "distributed/test_launcher.py": 10,
    "training/test_fit.py::test_fifteen_lines": None,
    "training/test_fit.py::test_one_clear_error_before_anything_is_trained": None,
    "training/test_fit.py::test_forgotten_noise_is_noticed": None,
    "cli/test_words.py": 10,
    "study/test_parts.py": 5,
}


SLOW: dict[str, int | None] = {
    "test_fuzz.py::test_hostile_folders_and_command_lines_do_no_harm": None,
    "test_console.py::test_a_command_works_without_standard_streams": None,
    "test_device.py::test_compiled_samples_are_the_same_to_rounding": None,
    "test_bench.py::test_the_table_of_a_busy_machine": None,
    "test_bench.py::test_the_table_of_quality_by_the_minute": None,
    "training/test_checkpoint.py::test_three_kills_and_the_same_bit_for_bit": None,
    "training/test_memory.py::test_a_data_set_that_does_not_fit_trains_from_its_cache": None,
    "training/test_precision.py::test_two_processes_with_a_part_each_skip_the_same_steps": None,
    "training/test_fsdp.py::test_parts_are_taken_up_by_any_number_of_processes": None,
    "distributed/test_processes.py::test_a_process_that_is_stopped_does_not_keep_the_first_one_from_ending": None,
    "objective/test_variational.py::test_learning_the_schedule_lowers_the_variance_and_keeps_the_bound": None,
    "recipe/test_cost_of_a_change.py": None,
    "study/test_bad_models.py": None,
}


def chosen(nodes: list[str], tier: dict[str, int | None]) -> set[str]:
    """Those of the tests, named `folder/file.py::test[...]` below tests/, that are of a tier."""
    found: set[str] = set()
    counts: dict[str, int] = {}
    for node in nodes:
        function = node.partition("[")[0]
        key = next((k for k in (function, function.partition("::")[0]) if k in tier), None)
        if key is not None and (tier[key] is None or counts.get(key, 0) < (tier[key] or 0)):
            counts[key] = counts.get(key, 0) + 1
            found.add(node)
    return found
