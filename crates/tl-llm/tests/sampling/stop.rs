//! Stop strings: that they are found however the text is cut, and that what is shown is all that may be.

use proptest::prelude::*;
use tl_llm::sampling::StopMatcher;

/// All text that comes out of pieces, and the stop that was found.
fn run(stops: &[&str], pieces: &[&str]) -> (String, Option<usize>) {
    let mut matcher = StopMatcher::new(stops).unwrap();
    let mut out = String::new();
    for piece in pieces {
        out.push_str(matcher.push(piece).text);
    }
    out.push_str(matcher.finish());
    (out, matcher.found())
}

/// The text before the stop that ends first (the longest of those), found by trying every end.
fn reference(stops: &[&str], text: &str) -> (String, Option<usize>) {
    for end in 1..=text.len() {
        let ending = |stop: &&str| text.as_bytes()[..end].ends_with(stop.as_bytes());
        let longest = stops.iter().copied().filter(ending).max_by_key(|stop| stop.len());
        if let Some(stop) = longest {
            let which = stops.iter().position(|one| *one == stop);
            return (text[..end - stop.len()].to_owned(), which);
        }
    }
    (text.to_owned(), None)
}

#[test]
fn a_stop_across_pieces_is_found_and_not_shown() {
    assert_eq!(run(&["<end>"], &["Hi<e", "nd", ">more"]), ("Hi".into(), Some(0)));
    assert_eq!(run(&["<end>"], &["Hi<e", "nd", "ed"]), ("Hi<ended".into(), None));
    assert_eq!(run(&["\n\n"], &["a\n", "b\n", "\nc"]), ("a\nb".into(), Some(0)));
    assert_eq!(run(&[], &["a", "", "b"]), ("ab".into(), None));
}

#[test]
fn text_is_held_back_no_longer_than_needed() {
    let mut matcher = StopMatcher::new(&["aab"]).unwrap();
    assert_eq!(matcher.push("xa").text, "x");
    assert_eq!(matcher.push("a").text, "");
    assert_eq!(matcher.push("a").text, "a", "the first `a` cannot begin a stop any more");
    assert_eq!(matcher.push("c").text, "aac");
    assert_eq!(matcher.push("aa").text, "");
    let step = matcher.push("b and more");
    assert_eq!((step.text, step.stop), ("", Some(0)));
    assert_eq!(matcher.push("later").text, "", "nothing comes after a stop");
    assert_eq!(matcher.finish(), "");
    assert_eq!(matcher.stop_string(0), Some("aab"));
    matcher.reset();
    let step = matcher.push("b");
    assert_eq!((step.text, step.stop), ("b", None));
}

#[test]
fn of_two_stops_the_first_to_end_wins_then_the_longest() {
    assert_eq!(run(&["bcd", "c"], &["abcd"]), ("ab".into(), Some(1)));
    assert_eq!(run(&["d", "bcd"], &["abcd"]), ("a".into(), Some(1)));
}

#[test]
fn characters_stay_whole() {
    // 'é' and 'è' begin with the same byte, as do the emoji; a stop must not tear them.
    assert_eq!(run(&["é"], &["è", "a", "é", "x"]), ("èa".into(), Some(0)));
    let mut matcher = StopMatcher::new(&["é!"]).unwrap();
    assert_eq!(matcher.push("è").text, "è");
    assert_eq!(matcher.push("é").text, "");
    assert_eq!(matcher.push("é").text, "é");
    assert_eq!(matcher.finish(), "é");
}

#[test]
fn an_empty_stop_is_refused() {
    let error = StopMatcher::new(&["a", ""]).unwrap_err().to_string();
    assert_eq!(error, "stop must be at least one character long, not the empty string (number 2)");
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        stops in proptest::collection::vec("[abé]{1,4}", 0..4),
        text in "[abéèx]{0,40}",
        cuts in proptest::collection::vec(0usize..41, 0..10),
    ) {
        let mut stops: Vec<&str> = stops.iter().map(String::as_str).collect();
        stops.sort_unstable();
        stops.dedup();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| text.is_char_boundary((*cut).min(text.len()))).map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|two| &text[two[0]..two[1]]).collect();
        prop_assert_eq!(run(&stops, &pieces), reference(&stops, &text));
    }
}
