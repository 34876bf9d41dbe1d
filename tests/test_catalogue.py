"""Names, signatures and mistake codes that notebooks, spreadsheets and other people's tests rely on.

More codes may be added; none of these may be renamed.
"""

import inspect

import pytest

from bncourse.exercises import chapters

CATALOGUE = """
normalization.standardize(train, test): whole_array_statistics wrong_axis divides_by_variance min_max test_statistics pooled_statistics unbiased_variance constant_column mutates_input
normalization.condition_number(x): range_ratio no_intercept square_root_of_kappa
normalization.best_learning_rate(hessian): one_over_max two_over_max uses_trace
normalization.whiten(x): standardizes_only divides_by_eigenvalue no_centering
covariate_shift.kinds_of_shift(answers): internal_for_covariate concept_for_covariate label_for_covariate
covariate_shift.importance_weights(prob_target): inverted_ratio uses_probability not_normalized
covariate_shift.adapt_statistics(weights, gammas, betas, x, eps): no_affine no_relu unbiased_variance no_normalization
batchnorm.batchnorm_forward(x, gamma, beta, eps): no_square_root eps_outside_root no_eps unbiased_variance wrong_axis whole_array_statistics shift_before_scale no_gamma no_beta one_pass_variance mutates_input
batchnorm.batchnorm_inference(x, gamma, beta, running_mean, running_var, eps): batch_statistics no_affine no_square_root no_eps eps_outside_root
batchnorm.batchnorm2d_forward(x, gamma, beta, eps): reshape_mixes_channels per_pixel instance_norm layer_norm broadcasts_last_axis unbiased_variance
batchnorm.identity_affine(mean, var, eps): variance_for_std inverse_gamma wrong_sign eps_ignored
batchnorm.count_parameters(widths): bias_kept statistics_learned no_affine
backprop.batchnorm_param_grads(dy, xhat): mean_for_sum wrong_axis swapped ignores_xhat
backprop.batchnorm_backward(dy, x, gamma, eps): detached_statistics detached_mean detached_variance wrong_sign_variance unbiased_variance no_gamma no_square_root missing_1_over_n
backprop.project(v, xhat): mean_only component_only not_normalized wrong_axis
backprop.numerical_gradient(f, x, dy, h): forward_difference missing_half ignores_dy mutates_input wrong_sign
running_statistics.update_running(running_mean, running_var, x, momentum): momentum_swapped biased_variance averages_std no_decay last_batch_only mutates_input
running_statistics.steps_to_forget(momentum, remaining): momentum_swapped linear_decay off_by_one
running_statistics.BatchNorm1d(num_features, eps=1e-05, momentum=0.1): updates_in_eval batch_statistics_in_eval state_not_saved shared_state momentum_swapped biased_running_variance
running_statistics.precise_statistics(batches): average_of_variances unweighted last_batch_only
running_statistics.diagnose_inference(answers): overfitting_guess learning_rate_guess no_grad_is_eval
regularization.batch_mean_std(sigma, n): one_over_n ignores_n variance_for_std
regularization.dropout_forward(x, p, mask): not_inverted divides_by_p drops_kept
regularization.variance_ratio(mean, var, p): naive_keep inverted_ratio forgets_mean
regularization.ghost_batchnorm(x, gamma, beta, eps, ghost_size): full_batch drops_remainder strided_groups
why_it_works.effective_learning_rate(lr, weight): first_power multiplies ignores_norm
why_it_works.equivalent_learning_rates(lr, weight_decay, steps): single_power decaying off_by_one
why_it_works.gradient_predictiveness(grad_before, grad_after): no_normalization wrong_reference cosine_of_differences
practice.fold_batchnorm(weight, bias, gamma, beta, mean, var, eps): bias_dropped wrong_axis no_square_root no_eps beta_scaled
practice.groupnorm(x, groups, gamma, beta, eps): mixes_examples strided_groups affine_per_group instance_norm layer_norm
practice.rmsnorm(x, gamma, eps): subtracts_mean wrong_axis no_square_root no_gamma eps_outside_root
practice.merge_statistics(counts, means, variances): average_of_variances unweighted forgets_mean_spread
practice.freeze_batchnorm(model): gradients_only train_resets freezes_everything
bug_museum.name_the_bug(answers):
bug_museum.repair_amber(layer): state_not_saved
bug_museum.repair_basalt(layer): detached_statistics
bug_museum.repair_dolomite(layer): shared_state
bug_museum.repair_emerald(layer): one_pass_variance
bug_museum.repair_flint(layer): averages_std
bug_museum.repair_halite(layer): batch_statistics_in_eval
"""
LINES = [line.partition(": ")[::2] for line in CATALOGUE.strip().splitlines()]


@pytest.mark.parametrize(("call", "codes"), LINES, ids=lambda text: text.partition("(")[0][:40])
def test_a_name_its_signature_and_its_codes_stay(call, codes):
    place, _, arguments = call.partition("(")
    chapter, _, name = place.partition(".")
    exercise = {e.name: e for e in chapters()[chapter]}[name]
    answer = getattr(exercise, "statement", exercise.solution)
    if not name.startswith("repair_"):  # the reader's own class is handed in
        assert str(inspect.signature(answer)) == f"({arguments.removesuffix(':')}"
    assert set(codes.split()) <= set(exercise.mistakes)


def test_no_exercise_is_missing_from_the_catalogue():
    known = {call.partition("(")[0] for call, _ in LINES}
    assert known == {f"{name}.{e.name}" for name, checks in chapters().items() for e in checks}
