"""What pytest needs to know before it collects: one thread, the bridge
between nbdev_clean and nbval, and what this machine has."""
import importlib.util
import os
import shutil
import pytest

# before torch: two busy threads on two busy cores wait for each other
os.environ.setdefault('OMP_NUM_THREADS', '1')


# What takes more than about two seconds, or many in all: `make quick` leaves it out. A file, or a test of it.
slow = """
    test_benches test_page test_parallel
    test_shake::test_the_setting_reaches_the_notebook
    test_shake::test_every_cell_runs_also_after_one_has_failed
    test_averaging::test_arms_of_one_size_are_kept_together
    test_averaging::test_a_tiny_run_stores_one_number_a_seed
    test_cloud::test_the_cell_installs_what_chapters_look_up
    test_cli::test_head_may_stop_reading test_cli::test_a_terminal_without_our_letters
    test_cli::test_images_that_changed_are_told_and_the_run_goes_on
    test_cli::test_a_resumed_run_keeps_its_options
    test_cli::test_compare_measures_what_is_stale_and_bears_what_is_missing
    test_cli::test_doctor_reads_on_where_the_checkpoints_end
    test_cli::test_images_that_moved_are_found_again test_cli::test_two_processes_train_one_run
    test_cli::test_ctrl_c_saves_and_says_how_to_go_on
    test_cli::test_killed_in_mid_run_and_resumed_to_the_same_bits
    test_cli::test_export_writes_files_that_draw_the_same
    test_diversity::test_a_short_run_is_stored test_diversity::test_the_counter_counts_real_modes
    test_diversity::test_the_arms_for_a_gpu_run
    test_doctor::test_the_benchmark_runs_a_part test_doctor::test_D_that_has_won_is_named_without_labels
    test_doctor::test_a_young_average_of_dcgan_is_no_alarm test_doctor::test_short_drills_are_found
    test_dynamics::test_final_radii test_dynamics::test_final_radius_of_alternating_steps
    test_dynamics::test_limit_cycle_attracts_from_both_sides
    test_dynamics::test_limit_cycle_has_the_radius_root_2h
    test_ensemble::test_a_weight_for_each_member test_ensemble::test_a_dcgan_with_batchnorm_too
    test_ensemble::test_noise_from_each_members_own_random_numbers
    test_ensemble::test_a_member_goes_on_alone test_ensemble::test_a_member_is_the_gan_trained_alone
    test_metrics::test_memory_is_bounded test_metrics::test_the_mnist_card_is_true
    test_page_playground::test_fifty_steps_are_those_of_the_library
    test_page_playground::test_games_to_try_do_what_their_notes_say
    test_plots::test_forty_frames_fit_a_notebook
    test_recipes::test_points_find_the_ring_in_a_short_run
    test_speed::test_a_tiny_run
    test_train::test_resumed_in_a_new_process_bit_for_bit
    test_train::test_kill_9_in_the_middle_of_saving_leaves_a_whole_file
""".split()


def _no_gpu():
    "Why tests marked `gpu` cannot run here; empty if they can."
    import torch
    if torch.cuda.is_available(): return ''
    return f'wants a CUDA device, and torch {torch.__version__} sees none'


def _no_browser():
    "Why tests marked `browser` cannot run here; empty if they can."
    if importlib.util.find_spec('playwright') is None: return 'wants playwright: pip install playwright'
    if not any(map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))):
        return 'wants Chromium, and there is none on the path'
    return ''


def pytest_collection_modifyitems(items):
    # nbdev_clean nulls the counts of cells that ran, and nbval fails a cell with output but no count
    for item in items:
        cell = getattr(item, 'cell', None)
        if cell is not None and cell.get('outputs'): cell['execution_count'] = 1
    for item in items:
        name = f'{item.path.stem}::{getattr(item, "originalname", item.name)}'
        if item.path.stem in slow or name in slow: item.add_marker('slow')
    for mark, why_not in dict(gpu=_no_gpu, browser=_no_browser).items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        reason = why_not() if marked else ''
        for item in marked if reason else []: item.add_marker(pytest.mark.skip(reason=reason))
