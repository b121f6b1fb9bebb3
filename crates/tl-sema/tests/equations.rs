//! What equations compute: projection scope, guards, groups, index expressions, recursion, functions.

mod support;

use support::numbers::{Variables, assert_close, call, script, script_error, script_with};

#[test]
fn a_perceptron_sums_inside_of_its_step() {
    let text = "W = [0.2, 1.9, -0.7, 3]\nX = [0, 1, 1, 0]\nY = step(W[i] X[i])\nY?";
    assert_eq!(script(text), (vec![], vec![1.0]));
    assert_eq!(script(&text.replace("X = [0, 1, 1, 0]", "X = [-1, 0, 1, 0]")), (vec![], vec![0.0]));
}

#[test]
fn a_matrix_product_and_its_square() {
    let text = "A = [[1, 2], [3, 4]]\nB = [[5, 6], [7, 8]]\nC[i, k] = A[i, j] B[j, k]\nC?";
    assert_eq!(script(text), (vec![2, 2], vec![19.0, 22.0, 43.0, 50.0]));
    let text = "X = [[1, 2], [3, 4]]\nG[i, k] = (X[i, j] X[k, j])^2\nG?";
    assert_eq!(script(text), (vec![2, 2], vec![25.0, 121.0, 121.0, 625.0]));
}

#[test]
fn each_join_of_a_product_sums_its_own_index() {
    let text =
        "n = [1, 2]\nG = [[1, 0], [0, 1]]\nU = [[2, 0], [0, 3]]\ny[f] = n[d] G[d, f] * n[d] U[d, f]\ny?";
    assert_eq!(script(text), (vec![2], vec![2.0, 12.0]));
}

#[test]
fn operands_broadcast_by_name() {
    let text = "A = [[1, 2, 3], [4, 5, 6]]\nb = [10, 20]\nc = [1, 2, 3]\nY[i, j] = A[i, j] + b[i] * c[j]\nY?";
    assert_eq!(script(text), (vec![2, 3], vec![11.0, 22.0, 33.0, 24.0, 45.0, 66.0]));
    let text = "A = [[1, 2], [3, 4]]\nT[j, i] = A[i, j]\nT?";
    assert_eq!(script(text), (vec![2, 2], vec![1.0, 3.0, 2.0, 4.0]));
}

#[test]
fn quotients_are_parts_of_a_product() {
    let text = "a = [2, 6]\nb = [1, 3]\ny = a[i] / b[i]\ny?";
    assert_eq!(script(text), (vec![], vec![4.0]));
    let text = "a = [2, 6]\nb = [1, 3]\ny[k] = a[i] b[i] / b[k]\ny?";
    assert_eq!(script(text), (vec![2], vec![20.0, 6.666667]));
}

#[test]
fn explicit_reductions_name_their_indices() {
    let data = "X = [[1, 5, 3], [4, 2, 6]]\n";
    let run = |equation: &str| script(&format!("{data}{equation}\nY?")).1;
    assert_eq!(run("Y[i] = sum[j](X[i, j])"), [9.0, 12.0]);
    assert_eq!(run("Y[i] = max[j](X[i, j])"), [5.0, 6.0]);
    assert_eq!(run("Y[j] = min[i](X[i, j])"), [1.0, 2.0, 3.0]);
    assert_eq!(run("Y[i] = mean[j](X[i, j])"), [3.0, 4.0]);
    assert_eq!(run("Y[i] = argmax[j](X[i, j])"), [1.0, 2.0]);
    assert_eq!(run("Y[i] = argmin[j](X[i, j])"), [0.0, 1.0]);
    assert_eq!(run("Y[i] = prod[j](X[i, j])"), [15.0, 48.0]);
    assert_eq!(run("Y = count[i, j](X[i, j] > 2)"), [4.0]);
    assert_eq!(run("Y[i] = any[j](X[i, j] > 5)"), [0.0, 1.0]);
    assert_eq!(run("Y[i] = all[j](X[i, j] > 1)"), [0.0, 1.0]);
    assert_eq!(run("Y = sum[i, j]((X[i, j] - 1)^2)"), [0.0 + 16.0 + 4.0 + 9.0 + 1.0 + 25.0]);
    assert_eq!(run("Y = max(X)"), [6.0]);
    assert_eq!(run("Y[i] = X[i, j] -> [i]"), [9.0, 12.0]);
}

#[test]
fn projection_operators_reduce_the_whole_right_side() {
    let text = "A = [[1, 5], [2, 3]]\nB = [10, 20]\nY[i] max= A[i, j] + B[j]\nY?";
    assert_eq!(script(text).1, [25.0, 23.0]);
    let text = "A = [[1, 5], [2, 3]]\nY[j] min= A[i, j]\nY?";
    assert_eq!(script(text).1, [1.0, 3.0]);
    let text = "A = [[1, 5], [2, 3]]\nY[j] avg= A[i, j]\nY?";
    assert_eq!(script(text).1, [1.5, 4.0]);
}

#[test]
fn a_guard_restricts_sums_and_the_left_side() {
    let x = "dim i = 4\nX = [1, 2, 3, 4]\n";
    assert_eq!(script(&format!("{x}Y[i] = X[j] X[i] where j <= i\nY?")).1, [1.0, 6.0, 18.0, 40.0]);
    assert_eq!(script(&format!("{x}Y[i] = X[i] where i < 2\nY?")).1, [1.0, 2.0, 0.0, 0.0]);
    assert_eq!(script(&format!("{x}Y = X[i] where i != 0 and i < 3\nY?")).1, [5.0]);
    assert_eq!(script(&format!("{x}Y[i] = mean[j](X[j]) where j <= i\nY?")).1, [1.0, 1.5, 2.0, 2.5]);
    assert_eq!(script(&format!("{x}Y[i] = max[j](-X[j]) where j >= i\nY?")).1, [-1.0, -2.0, -3.0, -4.0]);
    assert_eq!(script(&format!("{x}Y = X[i] X[j] where j < i\nY?")).1, [35.0]);
    assert_eq!(script(&format!("{x}Y[i] = sum[j](X[j] where j < i)\nY?")).1, [0.0, 1.0, 3.0, 6.0]);
    assert_eq!(
        script(&format!("{x}Y[i] = max[j](X[j] where j < i and X[j] < 3)\nY?")).1[1..],
        [1.0, 2.0, 2.0]
    );
}

#[test]
fn a_guarded_softmax_is_taken_over_what_is_left() {
    let text = "X = [[0, 0], [0, 0]]\nY[i, j.] = softmax(X[i, j]) where j <= i\nY?";
    assert_eq!(script(text).1, [1.0, 0.0, 0.5, 0.5]);
    let written = "fn own(x[d]) -> y[d] { y[d] = exp(x[d]) / sum[e](exp(x[e])) }\n";
    let text = format!("{written}X = [[0, 0], [0, 0]]\nY[i, j.] = own(X[i, j]) where j <= i\nY?");
    assert_eq!(
        script(&text).1,
        [1.0, 0.0, 0.5, 0.5],
        "a guard reaches into functions, under other names too"
    );
}

#[test]
fn axes_are_grouped_and_taken_apart() {
    let text = "dim g = 2\nX = [1, 2, 3, 4, 5, 6]\nY[c, g] = X[(g c)]\nY?";
    assert_eq!(script(text), (vec![3, 2], vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    let text = "A = [[1, 2], [3, 4]]\nY[(j i)] = A[i, j]\nY?";
    assert_eq!(script(text), (vec![4], vec![1.0, 3.0, 2.0, 4.0]));
}

#[test]
fn affine_indices_read_and_write() {
    let text = "X = [1, 2, 4, 8]\nD[i] = X[i + 1] - X[i]\nD?";
    assert_eq!(script(text), (vec![4], vec![1.0, 2.0, 4.0, -8.0]), "a read outside is 0");
    let text = "X = [1, 2, 3, 4, 5]\nF = [1, 10]\nY[x] = X[x + d] F[d]\nY?";
    assert_eq!(script(text), (vec![4], vec![21.0, 32.0, 43.0, 54.0]), "a convolution");
    let text = "X = [1, 2, 3]\nY[2*j] = X[j]\nY[2*j + 1] = -X[j]\nY?";
    assert_eq!(script(text), (vec![6], vec![1.0, -1.0, 2.0, -2.0, 3.0, -3.0]));
    let text = "X = [1, 2, 3, 4]\nY[i] = X[3 - i]\nY?";
    assert_eq!(script(text).1, [4.0, 3.0, 2.0, 1.0], "reversed");
    let text = "X = [1, 4, 3, 2, -5]\nY[x / 2] max= X[x]\nY?";
    assert_eq!(script(text), (vec![3], vec![4.0, 3.0, -5.0]), "pooling; the last block is shorter");
    let text = "X = [[1, 4, 3, 2], [8, 6, 1, 0]]\nY[x / 2, y / 2] avg= X[x, y]\nY?";
    assert_eq!(script(text), (vec![1, 2], vec![4.75, 1.5]));
    let text = "dim i = 6\nX = [1, 2, 3]\nY[i] = X[i / 2]\nY?";
    assert_eq!(script(text).1, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0], "integer division");
}

#[test]
fn constants_slices_diagonals_and_gathers() {
    let a = "A = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]\n";
    assert_eq!(script(&format!("{a}Y[j] = A[1, j]\nY?")).1, [4.0, 5.0, 6.0]);
    assert_eq!(script(&format!("{a}Y = A[i, i]\nY?")).1, [15.0], "the trace");
    assert_eq!(script(&format!("{a}Y[i] = A[i, i]\nY?")).1, [1.0, 5.0, 9.0], "the diagonal");
    assert_eq!(script(&format!("{a}Y[i, i] = A[0, i]\nY?")).1, [1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0]);
    assert_eq!(
        script(&format!("{a}k = [2, 0]\nY[n, j] = A[k[n], j]\nY?")),
        (vec![2, 3], vec![7.0, 8.0, 9.0, 1.0, 2.0, 3.0])
    );
    assert_eq!(
        script(&format!("{a}k = [2, 0, 2]\nY[k[n]] = A[n, 0]\ndim m = 3\nZ[m] = Y[m]\nZ?")).1,
        [4.0, 0.0, 8.0],
        "a scatter"
    );
    assert_eq!(script(&format!("{a}A[1:3, 0]?")).1, [4.0, 7.0]);
    assert_eq!(script(&format!("{a}A[2, j]?")), (vec![3], vec![7.0, 8.0, 9.0]));
    assert_eq!(
        script("Y[0] = 3\nY[2] = 4\nY?"),
        (vec![3], vec![3.0, 0.0, 4.0]),
        "what no equation defines is 0"
    );
}

#[test]
fn indices_are_numbers() {
    let text = "X = [1, 1, 1]\nY[i, j] = X[i] X[j] * (2 * i - j)\nY?";
    assert_eq!(script(text).1, [0.0, -1.0, -2.0, 2.0, 1.0, 0.0, 4.0, 3.0, 2.0]);
    let text = "dim n = 4\nY[n] = n / size(n)\nY?";
    assert_eq!(script(text).1, [0.0, 0.25, 0.5, 0.75]);
}

#[test]
fn the_same_left_side_adds_up() {
    let text = "A = [1, 2]\nY[i] = A[i]\nY[i] += 10 * A[i]\nY?";
    assert_eq!(script(text).1, [11.0, 22.0]);
}

#[test]
fn recursion_over_an_index_is_unrolled() {
    let fib = "f[0] = 0\nf[1] = 1\nf[n + 2] = f[n + 1] + f[n]\n";
    assert_eq!(script(&format!("{fib}f[10]?")), (vec![], vec![55.0]));
    assert_eq!(
        script(&format!("{fib}f[70]?")).1,
        [190392490709135.0],
        "far steps are reached from the beginning"
    );
    let walk = "A = [[0.5, 0.5], [0, 1]]\nx[0, i] = 1 - i\nx[t + 1, j] = x[t, i] A[i, j]\nx[3, j]?";
    assert_eq!(script(&format!("dim i = 2\n{walk}")).1, [0.125, 0.875]);
    let down = "b[4] = 1\nb[n] = 2 * b[n + 1]\nb[0]?";
    assert_eq!(script(down).1, [16.0]);
    let whole = "X = [1, 2, 3, 4]\ns[0] = X[0]\ns[i] = s[i - 1] + X[i]\ns?";
    assert_eq!(script(whole), (vec![4], vec![1.0, 3.0, 6.0, 10.0]));
    let table = "dim i = 5, j = 5\nc[i, 0] = 1\nc[0, j] = 1\nc[i, j] = c[i - 1, j] + c[i, j - 1]\nc[4, 4]?";
    assert_eq!(script(table).1, [70.0]);
}

#[test]
fn definitions_may_need_each_other_deeply() {
    let chain: String = (1..1500).map(|i| format!("x{i} = x{} + 1\n", i - 1)).collect();
    assert_eq!(script(&format!("x0 = 0\n{chain}x1499?")).1, [1499.0]);
    let found = script_error("fn f(x) = f(x + 1)\nY = f(0)\nY?");
    assert!(found.contains("E0602"), "{found}");
}

#[test]
fn a_thousand_steps_need_no_stack() {
    let text = "x[0] = 1\nx[n + 1] = x[n] + 1\nx[1000]?";
    assert_eq!(script(text).1, [1001.0]);
}

#[test]
fn functions_map_over_the_other_indices() {
    let norm = "fn rms(x[d]) -> y[d] { y[d] = x[d] / sqrt(mean[d](x[d]^2)) }\n";
    let text = format!("{norm}X = [[3, 3], [1, 7]]\nY[i, j] = rms(X[i, j.])\nY?");
    assert_eq!(script(&text).1, [1.0, 1.0, 0.2, 1.4]);
    let text = format!("{norm}X = [[3, 1], [3, 7]]\nY[i, j] = rms(X[i., j])\nY?");
    assert_eq!(script(&text).1, [1.0, 0.2, 1.0, 1.4]);
    let text = format!("{norm}X = [[3, 3], [1, 7]]\nrms(X)?");
    assert_eq!(script(&text), (vec![2, 2], vec![1.0, 1.0, 0.2, 1.4]), "without indices along the last axis");
    let grows =
        "fn up(x[d], W[d, e]) -> y[e] { y[e] = x[d] W[d, e] }\nX = [[1, 2]]\nV = [[1, 0, 1], [0, 1, 1]]\n";
    assert_eq!(
        script(&format!("{grows}Y[i, e.] = up(X[i, d.], V[d., e.])\nY?")),
        (vec![1, 3], vec![1.0, 2.0, 3.0])
    );
    assert_eq!(script(&format!("{grows}up(X, V)?")), (vec![1, 3], vec![1.0, 2.0, 3.0]));
}

#[test]
fn the_library_works_on_whole_tensors() {
    let text = "A = [[1, 2], [3, 4]]\nB = [[1, 0], [1, 1]]\nmatmul(A, B)?";
    assert_eq!(script(text), (vec![2, 2], vec![3.0, 2.0, 7.0, 4.0]));
    assert_eq!(script("softmax([0, 0, 0, 0])?").1, [0.25; 4]);
    assert_eq!(script("T = [[1, 2], [3, 4], [5, 6]]\nembedding(T, [2, 0])?").1, [5.0, 6.0, 1.0, 2.0]);
    assert_eq!(script("X = [-1, 2]\nrelu(X)?").1, [0.0, 2.0]);
    assert_eq!(script("L = [1, 2]\nY[e] = cross_entropy([0, 0, 0], L[e])\nY?").1, [1.098612, 1.098612]);
    let loss = "X = [[0, 0], [9, 0]]\nlabel = [1, 0]\nL = mean[e](cross_entropy(X[e, k.], label[e]))\nL?";
    assert!((script(loss).1[0] - (2f64.ln() + 0.000123) / 2.0).abs() < 1e-5);
}

#[test]
fn variables_of_the_script_are_values() {
    let variables = Variables::default().tensor("E", &[2, 3], &[1., 2., 3., 4., 5., 6.]).number("k", 1.0);
    let run = |text: &str| script_with(text, &variables).unwrap();
    assert_eq!(run("E[k, j]?"), (vec![3], vec![4.0, 5.0, 6.0]));
    assert_eq!(run("Y[i] = E[i, j] * k\nY?"), (vec![2], vec![6.0, 15.0]));
    assert_eq!(run("(E + E)?"), (vec![2, 3], vec![2., 4., 6., 8., 10., 12.]));
}

#[test]
fn rope_turns_pairs_by_their_angles() {
    let x: Vec<f64> = (0..8).map(|i| f64::from(i) * 0.3 - 1.0).collect();
    let text = "fn f(x[c], p) -> y[c] = rope(x[c], p, 100)\nfn h(x[c], p) -> y[c] = rope_halves(x[c], p, 100)\n\
                fn part(x[c], p) -> y[c] = rope(x[c], p, 100, 4)";
    let turn =
        |a: f64, b: f64, angle: f64| (a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos());
    let angle = |j: usize, n: usize| 3.0 * 100f64.powf(-2.0 * j as f64 / n as f64);
    let (mut near, mut far, mut part) = (vec![0.0; 8], vec![0.0; 8], x.clone());
    for j in 0..4 {
        (near[2 * j], near[2 * j + 1]) = turn(x[2 * j], x[2 * j + 1], angle(j, 8));
        (far[j], far[j + 4]) = turn(x[j], x[j + 4], angle(j, 8));
    }
    for j in 0..2 {
        (part[2 * j], part[2 * j + 1]) = turn(x[2 * j], x[2 * j + 1], angle(j, 4));
    }
    assert_close(&call(text, "f", &[(&[8], &x), (&[], &[3.0])]), &near);
    assert_close(&call(text, "h", &[(&[8], &x), (&[], &[3.0])]), &far);
    assert_close(&call(text, "part", &[(&[8], &x), (&[], &[3.0])]), &part);
}

#[test]
fn errors_show_both_places() {
    let found = script_error("A = [1, 2]\nB = [1, 2, 3]\nY = A[i] B[i]\nY?");
    assert!(
        found.contains("E0401")
            && found.contains("`i` has two sizes: 2 and 3")
            && found.contains("2: the axis of `A`"),
        "{found}"
    );
    let found = script_error("A = [1, 2]\nB = [1, 2]\nY = (A[e] - B[e])^2\nY?");
    assert!(found.contains("E0405 at `e`"), "{found}");
    let found = script_error("A = [1, 2]\nY = A[i] A[i] + A[i]\nY?");
    assert!(found.contains("E0406") && found.contains("is summed over this product"), "{found}");
    let found = script_error("A = [1, 2]\nY[i, j] = A[i]\nY?");
    assert!(found.contains("E0407 at `j`"), "{found}");
    let found = script_error("A = [[1, 2], [3, 4]]\nY[i, j] = softmax(A[i, j])\nY?");
    assert!(found.contains("E0408 at `A[i, j]`"), "{found}");
    let found = script_error("f[n] = f[n + 1]\nf[0]?");
    assert!(found.contains("E060"), "{found}");
    let found = script_error("a = b\nb = a\na?");
    assert!(found.contains("E0601"), "{found}");
    let found = script_error("X = [1, 2, 3, 4, 5]\ndim g = 2\nY[g, c] = X[(g c)]\nY?");
    assert!(found.contains("E0411 at `(g c)`"), "{found}");
    let found = script_error("Y = sofmax([1])\nY?");
    assert!(found.contains("E0303 at `sofmax`"), "{found}");
    let found = script_error("A = [1, 2]\nY[i] = Z[i] + A[i]\nY?");
    assert!(found.contains("E0301 at `Z`"), "{found}");
    let found = script_error("A = [1, 2]\nY = A[i] A[i] + A[j] A[j] where i < j\nY?");
    assert!(found.contains("E0410 at `i < j`"), "{found}");
    let found = script_error("A = [1, 2]\nY[i] = A[i] where A[k] > i\nY?");
    assert!(found.contains("E0410 at `k`"), "{found}");
    let found = script_error("A = [[1, 2], [3, 4]]\nY[i] = A[i]\nY?");
    assert!(found.contains("E0403 at `A[i]`"), "{found}");
}
