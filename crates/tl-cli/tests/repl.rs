//! The dialogue without a terminal: what it prints, what it survives, and that it can be interrupted.

mod support {
    mod running;
    pub use running::*;
}

use support::{Folder, tl_reading};

#[test]
fn statements_run_when_they_are_complete_and_values_are_printed() {
    let ran = tl_reading(
        ["repl"],
        b"let x = [1,\n2]\nx\nfn f(n) {\n  return n + 1\n}\nf(2)\nprint(\"hi\")\n\"hi\"\nY[i] = x[i]\nY?\n",
    );
    assert_eq!((ran.code, &*ran.out), (Some(0), "[1, 2]\n3\nhi\n\"hi\"\nY = [1, 2]\n"), "{}", ran.err);
}

#[test]
fn what_is_typed_again_takes_the_place_of_what_it_said_before() {
    let ran = tl_reading(
        ["repl"],
        b"X = [1, 2]\nX = [3, 4]\nX?\nX[i, j] = [[1]]\nX?\nlet X = 5\nX\nX = [6]\nX\nY = 1\nY += 2\nY?\nn = len(\"ab\")\nn = len(\"abc\")\nn?\n",
    );
    assert_eq!(ran.out, "X = [3, 4]\nX = [[1]]\n5\n[6]\nY = 3\nn = 3\n", "{}", ran.err);
}

#[test]
fn an_error_ends_an_input_and_not_the_dialogue() {
    let ran = tl_reading(["repl"], b"nothing_here\n1 + 1\n:nonsense\n:explain E0301\n2 + 2\n");
    assert_eq!(ran.code, Some(2), "the exit code is that of the last failure");
    assert!(ran.out.starts_with("2\n# E0301") && ran.out.ends_with("4\n"), "{}", ran.out);
    ran.fails(2, &["E0301", ":nonsense", ":help"]);
    tl_reading(["repl"], b"let x = [1,\n").fails(1, &["E0204"]);
    tl_reading(["repl"], b"print(1)\n:quit\nprint(2)\n").fails(0, &[]);
    tl_reading(["repl"], b"\xff\xfe\n1\n").fails(1, &["E0"]);
}

#[test]
fn commands_tell_about_values() {
    let folder = Folder::new("repl");
    let file = folder.file("lib.tl", "fn twice(x) = 2 * x\n");
    let ran = tl_reading(
        ["repl"],
        format!(":load {file}\n:type twice\n:type [1]\n:type zeros(2, 3)\ntwice(4)\n:time twice(5)\n:reset\ntwice(4)\n").as_bytes(),
    );
    assert!(ran.out.starts_with("twice(x)\na list of 1\na tensor, [2, 3] of F32\n8\n10\n"), "{}", ran.out);
    ran.fails(1, &["E0303"]);
    let ran =
        tl_reading(["repl"], b"A[i, j] = [[1, 2], [3, 4]]\nB[i, k] = relu(A[i, j] A[j, k])\n:explain B\n");
    assert!(ran.out.contains("kernels\n") && ran.out.contains("B[i, k]"), "{}{}", ran.out, ran.err);
}

#[test]
fn a_very_long_line_is_survived() {
    let mut input = b"x = \"".to_vec();
    input.extend(std::iter::repeat_n(b'a', 10_000_000));
    input.extend(b"\"\nlet y = [");
    input.extend(b"1, ".repeat(300_000));
    input.extend(b"]\nlen(x) + len(y)\n");
    assert_eq!(tl_reading(["repl"], &input).out, "10300000\n");
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_a_computation_and_the_dialogue_goes_on() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    let mut child = support::command()
        .args(["--threads", "1", "repl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let (mut out, mut err) =
        (BufReader::new(child.stdout.take().unwrap()), BufReader::new(child.stderr.take().unwrap()));
    writeln!(input, "dim i = 20000, j = 20000, k = 20000").unwrap();
    // Hours of work for equations, and a loop without an end.
    for endless in ["sum[i, j, k](sin(i * j + k))", "while true { }"] {
        writeln!(input, "print(\"begins\"); {endless}").unwrap();
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "begins\n");
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        while !line.contains("E0709") {
            line.clear();
            assert_ne!(err.read_line(&mut line).unwrap(), 0, "it ended");
        }
    }
    writeln!(input, "1 + 1").unwrap();
    drop(input);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    assert_eq!(rest, "2\n");
    child.wait().unwrap();
}
