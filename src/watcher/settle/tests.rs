//! A file's story, told to its state machine on a clock that only the story moves.

use super::*;

/// As young as a file can be that is offered.
const FRESH: Duration = TICK;
/// Written in this very tick of the clock.
const NOW: Duration = Duration::ZERO;
const OLD: Duration = Duration::from_secs(3600);
/// So large that hashing takes longer than any wait.
const LARGE: u64 = 1 << 40;

/// A file that was written at this time.
fn written(size: u64, at: i64) -> Binding {
    Binding::for_test(1, size, at, at)
}

/// One file and a clock of its own.
struct Story {
    file: Settling,
    now: Instant,
    rules: Rules,
}

impl Story {
    fn new() -> Self {
        Self::by(Duration::ZERO)
    }

    /// With so long to settle.
    fn by(settle: Duration) -> Self {
        Self { file: Settling::new(), now: Instant::now(), rules: Rules::new(settle) }
    }

    fn settled(binding: &Binding) -> Self {
        let mut story = Self::new();
        assert_eq!(story.hear_of_age(Heard::Looked, binding, OLD), Some(Report::Settled));
        story
    }

    fn hear(&mut self, heard: Heard, seen: &Binding) -> Option<Report> {
        self.hear_of_age(heard, seen, FRESH)
    }

    fn hear_of_age(&mut self, heard: Heard, seen: &Binding, age: Duration) -> Option<Report> {
        self.file.hear(heard, seen, age, self.now, self.rules)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Lets the time come that it waits for; says how long that took.
    fn wait(&mut self, seen: &Binding) -> (Option<Report>, Duration) {
        let started = self.now;
        self.now = self.file.due().expect("it waits");
        (self.hear(Heard::Due, seen), self.now - started)
    }
}

#[test]
fn waits_twice_as_long_each_round_up_to_a_maximum() {
    assert_eq!(debounce(0, LARGE), Duration::ZERO);
    assert_eq!(debounce(1, LARGE), DEBOUNCE);
    assert_eq!(debounce(4, LARGE), 8 * DEBOUNCE);
    assert_eq!(debounce(MAX_ROUNDS, LARGE), MAX_SETTLE);
    assert_eq!(debounce(u8::MAX, u64::MAX), MAX_SETTLE);
    assert_eq!(next_round(3, Duration::ZERO), 4);
    assert_eq!(next_round(u8::MAX, Duration::ZERO), MAX_ROUNDS);
    assert_eq!(next_round(3, CALM), 0);
}

#[test]
fn waits_no_longer_than_hashing_it_would_take() {
    assert_eq!(debounce(MAX_ROUNDS, 1), DEBOUNCE);
    assert_eq!(debounce(MAX_ROUNDS, 3 * HASHED_PER_SECOND), Duration::from_secs(3));
    assert_eq!(debounce(0, 1), Duration::ZERO);
}

#[test]
fn a_closed_file_waits_for_nobody() {
    let mut story = Story::new();
    assert_eq!(story.hear(Heard::Written, &written(1, 0)), Some(Report::Pending));
    assert_eq!(story.hear(Heard::Closed, &written(1, 0)), Some(Report::Settled));
    assert_eq!(story.file.due(), None);
}

/// By its times, what is written in one tick of the clock can't be told from what was written in it before.
#[test]
fn a_file_is_offered_only_when_the_clock_has_moved_on_from_its_times() {
    for heard in [Heard::Closed, Heard::MovedIn] {
        let mut story = Story::new();
        assert_eq!(story.hear_of_age(heard, &written(1, 0), NOW), Some(Report::Still));
        story.pass(TICK / 2);
        for heard in [Heard::Written, Heard::Closed, Heard::Looked, Heard::Touched, Heard::Due] {
            assert_eq!(story.hear_of_age(heard, &written(1, 0), TICK / 2), None);
        }
        assert_eq!(story.wait(&written(1, 0)), (Some(Report::Settled), TICK / 2));
        assert_eq!(story.file.due(), None);
    }
    let mut story = Story::settled(&written(1, 0));
    let moved = Binding::for_test(1, 1, 0, 5);
    assert_eq!(story.hear_of_age(Heard::Looked, &moved, NOW), Some(Report::Still));
    assert_eq!(story.wait(&moved), (Some(Report::Settled), TICK));
}

#[test]
fn a_file_whose_times_are_yet_to_come_is_offered_all_the_same() {
    let mut story = Story::new();
    story.hear_of_age(Heard::Closed, &written(1, 0), NOW);
    story.pass(TICK);
    assert_eq!(story.hear_of_age(Heard::Due, &written(1, 0), NOW), Some(Report::Settled));
    let mut story = Story::new();
    story.hear_of_age(Heard::Looked, &written(1, 0), NOW);
    story.pass(SCAN_QUIET);
    assert_eq!(story.hear_of_age(Heard::Due, &written(1, 0), NOW), Some(Report::Settled));
}

#[test]
fn a_file_that_is_changed_when_it_is_about_to_be_offered_is_not() {
    let about_to_be = || {
        let mut story = Story::new();
        story.hear_of_age(Heard::Closed, &written(1, 0), NOW);
        story
    };
    let mut story = about_to_be();
    assert_eq!(story.hear_of_age(Heard::Written, &written(2, 1), NOW), Some(Report::Pending));
    assert!(story.file.is_writing());
    // Nobody told of it.
    let mut story = about_to_be();
    assert_eq!(story.wait(&written(2, 1)).0, Some(Report::Pending));
    assert_eq!(story.wait(&written(2, 1)), (Some(Report::Settled), SCAN_QUIET - FRESH));
    let mut story = about_to_be();
    assert_eq!(story.hear(Heard::Unsettled, &written(1, 0)), Some(Report::Pending));
    assert_eq!(story.wait(&written(1, 0)), (Some(Report::Settled), SCAN_QUIET));
    let mut story = about_to_be();
    assert_eq!(story.hear(Heard::Closed, &written(0, 1)), Some(Report::Gone));
    assert_eq!(story.file.due(), None);
}

#[test]
fn a_closed_file_that_has_just_been_offered_settles_after_the_debounce() {
    let mut story = Story::settled(&written(1, 0));
    assert_eq!(story.hear(Heard::Closed, &written(1, 1)), Some(Report::Pending));
    assert_eq!(story.hear(Heard::Due, &written(1, 1)), None, "too early");
    assert_eq!(story.wait(&written(1, 1)), (Some(Report::Settled), DEBOUNCE));
    assert_eq!(story.file.due(), None);
}

#[test]
fn a_found_file_must_be_quiet_for_what_is_left_of_the_time() {
    let mut story = Story::new();
    let age = SCAN_QUIET / 4;
    assert_eq!(story.hear_of_age(Heard::Looked, &written(1, 0), age), Some(Report::Found));
    assert_eq!(story.wait(&written(2, 1)).0, Some(Report::Pending), "it changed, and nobody said so");
    assert_eq!(story.wait(&written(2, 1)), (Some(Report::Settled), SCAN_QUIET - FRESH));
}

#[test]
fn a_found_file_is_no_more_than_pending_once_somebody_writes_to_it() {
    let mut story = Story::new();
    assert_eq!(story.hear(Heard::Looked, &written(1, 0)), Some(Report::Found));
    assert_eq!(story.hear(Heard::Looked, &written(1, 0)), None);
    assert_eq!(story.hear(Heard::Written, &written(2, 1)), Some(Report::Pending));
    assert_eq!(story.hear(Heard::Looked, &written(2, 1)), None);
    assert_eq!(story.hear(Heard::Closed, &written(2, 1)), Some(Report::Settled));
}

#[test]
fn looks_neither_hurry_nor_delay_a_file() {
    let mut story = Story::new();
    story.hear(Heard::Looked, &written(1, 0));
    let due = story.file.due();
    story.pass(SCAN_QUIET / 2);
    assert_eq!(story.hear(Heard::Looked, &written(1, 0)), None);
    assert_eq!(story.file.due(), due);
    story.hear(Heard::Written, &written(2, 1));
    assert!(story.file.is_writing());
    for heard in [Heard::Looked, Heard::Touched, Heard::Unsettled] {
        assert_eq!(story.hear_of_age(heard, &written(2, 1), OLD), None);
        assert!(story.file.is_writing());
    }
}

#[test]
fn looks_neither_hurry_nor_delay_a_file_that_waits_after_a_close() {
    let mut story = Story::settled(&written(1, 0));
    story.hear(Heard::Closed, &written(3, 2));
    let due = story.file.due();
    assert_eq!(story.hear(Heard::Looked, &written(4, 3)), None);
    assert_eq!(story.file.due(), due);
}

#[test]
fn a_writer_s_pause_ends_only_after_long() {
    let mut story = Story::new();
    story.hear(Heard::Written, &written(1, 0));
    story.pass(MAX_PAUSE - DEBOUNCE);
    assert_eq!(story.hear(Heard::Written, &written(2, 1)), None);
    assert_eq!(story.wait(&written(2, 1)).0, None);
    assert_eq!(story.wait(&written(2, 1)), (Some(Report::Settled), MAX_PAUSE - FRESH));
}

#[test]
fn a_writer_whose_close_was_lost_is_not_waited_for() {
    let mut story = Story::new();
    story.hear(Heard::Written, &written(1, 0));
    assert_eq!(story.hear(Heard::Lost, &written(1, 0)), None);
    assert_eq!(story.wait(&written(1, 0)), (Some(Report::Settled), SCAN_QUIET - FRESH));
}

#[test]
fn late_news_of_what_is_offered_says_nothing() {
    let mut story = Story::settled(&written(1, 0));
    for heard in [Heard::Written, Heard::Closed, Heard::Touched, Heard::Looked, Heard::Lost, Heard::Removed] {
        assert_eq!(story.hear(heard, &written(1, 0)), None);
        assert_eq!(story.file.due(), None);
    }
}

#[test]
fn a_change_of_ctime_alone_is_not_taken_for_nothing() {
    let moved = Binding::for_test(1, 1, 0, 5);
    let mut story = Story::settled(&written(1, 0));
    assert_eq!(story.hear(Heard::Looked, &moved), Some(Report::Settled), "whoever asks has it at once");
    for heard in [Heard::Touched, Heard::Closed] {
        let mut story = Story::settled(&written(1, 0));
        assert_eq!(story.hear(heard, &moved), Some(Report::Pending));
        assert_eq!(story.wait(&moved).0, Some(Report::Settled));
    }
    let mut story = Story::settled(&written(1, 0));
    assert_eq!(story.hear(Heard::MovedIn, &moved), Some(Report::Settled));
}

#[test]
fn a_name_that_was_removed_and_is_there_again_is_a_new_file() {
    // Same inode number, same size, times copied: only ctime tells.
    let mut story = Story::settled(&written(1, 0));
    assert_eq!(story.hear(Heard::Removed, &Binding::for_test(1, 1, 0, 5)), Some(Report::Pending));
}

#[test]
fn setting_times_or_truncating_by_path_needs_no_close() {
    for changed in [Binding::for_test(1, 10, 3, 5), written(9, 5)] {
        let mut story = Story::settled(&written(10, 0));
        assert_eq!(story.hear(Heard::Written, &changed), Some(Report::Pending));
        assert_eq!(story.wait(&changed), (Some(Report::Settled), SCAN_QUIET - FRESH));
    }
}

#[test]
fn each_soon_change_of_an_offered_file_doubles_the_wait() {
    let mut story = Story::settled(&written(1, 0));
    for round in 1..=20 {
        let seen = written(LARGE + u64::from(round), i64::from(round));
        assert_eq!(story.hear(Heard::Written, &seen), Some(Report::Pending));
        assert_eq!(story.hear(Heard::Closed, &seen), None);
        assert_eq!(story.wait(&seen), (Some(Report::Settled), debounce(round, LARGE)));
    }
    story.pass(CALM);
    let seen = written(2 * LARGE, 100);
    assert_eq!(story.hear(Heard::Closed, &seen), Some(Report::Settled), "calm ends the back-off");
}

#[test]
fn a_file_replaced_again_and_again_is_offered_each_time_at_once() {
    let mut story = Story::settled(&written(LARGE, 0));
    for inode in 2..=20 {
        let seen = Binding::for_test(inode, LARGE, 0, 0);
        assert_eq!(story.hear(Heard::MovedIn, &seen), Some(Report::Settled));
        assert_eq!(story.file.due(), None);
    }
    // And that is not held against it when it is then written to.
    let seen = Binding::for_test(20, 2 * LARGE, 1, 1);
    assert_eq!(story.hear(Heard::Closed, &seen), Some(Report::Pending));
    assert_eq!(story.wait(&seen), (Some(Report::Settled), DEBOUNCE));
}

#[test]
fn the_replaced_file_s_writer_is_no_writer_of_the_new_one() {
    let new = Binding::for_test(2, 1, 7, 7);
    let mut story = Story::settled(&written(1, 0));
    assert_eq!(story.hear(Heard::MovedIn, &new), Some(Report::Settled));
    assert_eq!(story.hear(Heard::Written, &new), None);
    assert!(!story.file.is_writing());
}

#[test]
fn the_hasher_s_complaint_is_heard_though_nothing_moved() {
    let mut story = Story::settled(&written(1, 0));
    for round in 1..=8 {
        assert_eq!(story.hear(Heard::Unsettled, &written(1, 0)), Some(Report::Pending));
        let (report, waited) = story.wait(&written(1, 0));
        assert_eq!(report, Some(Report::Settled));
        assert_eq!(waited, SCAN_QUIET.max(debounce(round, 1)));
    }
}

#[test]
fn an_emptied_file_is_gone_once() {
    let mut story = Story::settled(&written(1, 0));
    assert_eq!(story.hear(Heard::Written, &written(0, 1)), Some(Report::Pending));
    assert_eq!(story.hear(Heard::Closed, &written(0, 1)), Some(Report::Gone));
    assert_eq!(story.hear(Heard::Closed, &written(0, 1)), None);
    assert_eq!(story.file.due(), None);
    assert_eq!(story.hear(Heard::Written, &written(1, 2)), Some(Report::Pending));
    assert!(story.file.is_writing());
}

#[test]
fn an_emptied_file_whose_bytes_do_not_come_is_gone_after_a_while() {
    let mut story = Story::settled(&written(1, 0));
    story.hear(Heard::Written, &written(0, 1));
    assert_eq!(story.hear(Heard::Looked, &written(0, 1)), None);
    assert_eq!(story.wait(&written(0, 1)), (Some(Report::Gone), SCAN_QUIET));
}

#[test]
fn a_file_that_is_copied_over_is_never_gone() {
    let mut story = Story::settled(&written(1, 0));
    assert_eq!(story.hear(Heard::Written, &written(0, 1)), Some(Report::Pending));
    assert_eq!(story.hear(Heard::Written, &written(5, 2)), None);
    assert!(story.file.is_writing());
}

#[test]
fn a_file_found_where_other_hosts_write_must_be_quiet_for_longer() {
    let mut story = Story { rules: Rules::new(Duration::ZERO).of_silent(), ..Story::new() };
    assert_eq!(story.hear_of_age(Heard::Looked, &written(1, 0), SCAN_QUIET), Some(Report::Pending));
    assert_eq!(story.wait(&written(1, 0)), (Some(Report::Settled), SILENT_QUIET - SCAN_QUIET));
    // Whom this host hears is believed.
    assert_eq!(story.hear(Heard::MovedIn, &written(2, 9)), Some(Report::Settled));
}

const SETTLE: Duration = Duration::from_secs(30);

#[test]
fn with_a_time_to_settle_a_closed_file_waits_for_what_is_left_of_it() {
    let mut story = Story::by(SETTLE);
    assert_eq!(story.hear(Heard::Written, &written(1, 0)), Some(Report::Pending));
    let age = SETTLE / 3;
    assert_eq!(story.hear_of_age(Heard::Closed, &written(1, 0), age), None);
    assert_eq!(story.wait(&written(1, 0)), (Some(Report::Settled), SETTLE - age));
    let mut story = Story::by(SETTLE);
    story.hear(Heard::Written, &written(1, 0));
    assert_eq!(story.hear_of_age(Heard::Closed, &written(1, 0), SETTLE), Some(Report::Settled));
}

#[test]
fn with_a_time_to_settle_a_file_that_is_opened_again_waits_anew() {
    let mut story = Story::by(SETTLE);
    for burst in 0..5 {
        let expected = (burst == 0).then_some(Report::Pending);
        assert_eq!(story.hear(Heard::Written, &written(1 + burst, burst as i64)), expected);
        assert_eq!(story.hear(Heard::Closed, &written(1 + burst, burst as i64)), None);
        story.pass(SETTLE - DEBOUNCE);
        assert_eq!(story.hear(Heard::Due, &written(1 + burst, burst as i64)), None);
    }
    let (report, waited) = story.wait(&written(5, 4));
    assert_eq!((report, waited), (Some(Report::Settled), DEBOUNCE - FRESH));
}

#[test]
fn with_a_time_to_settle_an_open_file_is_finished_after_that() {
    let mut story = Story::by(SETTLE);
    story.hear(Heard::Written, &written(1, 0));
    story.pass(SETTLE / 2);
    assert_eq!(story.hear(Heard::Written, &written(2, 1)), None);
    story.pass(SETTLE / 2);
    assert_eq!(story.hear_of_age(Heard::Due, &written(2, 1), SETTLE / 2), None);
    assert_eq!(story.wait(&written(2, 1)), (Some(Report::Settled), SETTLE / 2));
}

#[test]
fn with_a_time_to_settle_a_found_file_must_be_as_old() {
    let mut story = Story::by(SETTLE);
    assert_eq!(story.hear_of_age(Heard::Looked, &written(1, 0), SCAN_QUIET), Some(Report::Pending));
    assert_eq!(story.wait(&written(1, 0)), (Some(Report::Settled), SETTLE - SCAN_QUIET));
    let mut story = Story::by(SETTLE);
    assert_eq!(story.hear_of_age(Heard::Looked, &written(1, 0), SETTLE), Some(Report::Settled));
    // Less than what a found file is given anyway changes nothing.
    let mut story = Story::by(DEBOUNCE);
    story.hear(Heard::Looked, &written(1, 0));
    assert_eq!(story.wait(&written(1, 0)), (Some(Report::Settled), SCAN_QUIET - FRESH));
}

#[test]
fn with_a_time_to_settle_a_rename_into_place_is_believed_at_once() {
    let mut story = Story::by(SETTLE);
    assert_eq!(story.hear(Heard::MovedIn, &written(1, 0)), Some(Report::Settled));
}

#[test]
fn with_a_time_to_settle_a_change_of_rights_does_not_withdraw_a_file_for_that_long() {
    let mut story = Story::by(SETTLE);
    story.hear(Heard::MovedIn, &written(1, 0));
    let changed = Binding::for_test(1, 1, 0, 5);
    assert_eq!(story.hear(Heard::Touched, &changed), Some(Report::Pending));
    assert_eq!(story.wait(&changed), (Some(Report::Settled), DEBOUNCE));
}

#[test]
fn late_news_of_a_truncation_that_a_reader_noticed_does_not_wait_for_a_writer() {
    let (whole, truncated) = (written(1000, 0), written(10, 5));
    let mut story = Story::settled(&whole);
    assert_eq!(story.hear(Heard::Unsettled, &truncated), Some(Report::Pending));
    assert_eq!(story.hear(Heard::Written, &truncated), None);
    assert_eq!(story.wait(&truncated).0, Some(Report::Settled));

    let mut story = Story::settled(&whole);
    assert_eq!(story.hear(Heard::Unsettled, &truncated), Some(Report::Pending));
    assert_eq!(story.hear(Heard::Written, &written(20, 6)), None, "somebody writes");
    assert_eq!(story.wait(&written(20, 6)).1, MAX_PAUSE);
}
