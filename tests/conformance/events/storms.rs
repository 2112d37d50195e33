//! Many changes at once. After each rollback nothing may be wrong.

use std::path::Path;

use super::{Bench, files, judged, others_may_run, rounds, source};
use crate::common::{has_program, require, shell};

/// Runs each of `lines` in every round and takes it back; says how many were found by a walk.
fn storm(test: &str, prepare: impl Fn(&Bench), lines: &[&str]) {
    if !judged(test) {
        return;
    }
    let _machine = others_may_run();
    let (mut done, mut walked) = (0, 0);
    for parity in 0..rounds().min(2) {
        let bench = Bench::new(source(parity));
        prepare(&bench);
        bench.remember();
        for _ in (parity..rounds()).step_by(2) {
            for line in lines {
                let notes = bench.undoes(line);
                done += 1;
                walked += usize::from(!notes.is_empty());
            }
        }
    }
    println!("{test}: {done} rollbacks, 0 entries wrong, {walked} times the tree was walked");
}

/// An archive of many files beside the tree.
fn archive(root: &Path) {
    let count = files();
    shell(
        root,
        &format!(
            "mkdir -p pack/many && cd pack/many && for d in $(seq 50); do mkdir -p d$d/sub/sub; done && \
             seq {count} | awk '{{ f = \"d\" ($1 % 50 + 1) \"/\" ($1 % 3 ? \"\" : \"sub/sub/\") \"f\" $1; print $1 > f; close(f) }}' && \
             ln d1/f50 d2/linked 2>/dev/null || ln d2/f1 d2/linked; ln -s d3 link && cd .. && tar cf ../many.tar many && cd .. && rm -r pack"
        ),
    );
}

#[test]
fn unpacking_thousands_is_taken_back() {
    storm(
        "unpacking_thousands_is_taken_back",
        |bench| archive(&bench.root),
        &[
            "tar xf ../many.tar",
            "tar xf ../many.tar && mv many/d1 many/d2/ && rm -r many/d3",
        ],
    );
}

#[test]
fn removing_thousands_is_taken_back() {
    storm(
        "removing_thousands_is_taken_back",
        |bench| {
            archive(&bench.root);
            shell(&bench.tree, "tar xf ../many.tar");
        },
        &[
            "rm -rf many",
            "find many -type f -name '*7*' -delete",
            "rm -rf many && tar xf ../many.tar --touch",
        ],
    );
}

/// A repository with commits that are far from each other.
const REPOSITORY: &str = "
git init -q . && git config user.email a@b && git config user.name c && git config gc.auto 0
for c in $(seq 12); do
    mkdir -p part$c/sub
    for f in $(seq 30); do echo \"$c $f\" > part$c/sub/f$f; done
    for p in $(seq 1 3 $c); do [ -d part$p ] && echo $c >> part$p/sub/f1; done
    [ $((c % 4)) = 0 ] && git mv part$((c - 1)) moved$c
    [ $((c % 5)) = 0 ] && git rm -rq part$((c - 3))
    git add -A; git commit -qm $c
done
true";

#[test]
fn checkouts_of_distant_commits_are_taken_back() {
    storm(
        "checkouts_of_distant_commits_are_taken_back",
        |bench| shell(&bench.tree, REPOSITORY),
        &[
            "git checkout -q HEAD~11",
            "git checkout -q HEAD~6 && git checkout -q - && git checkout -q HEAD~9",
            "git gc -q && git checkout -q HEAD~3 && git clean -qfdx && rm -r part1",
        ],
    );
}

/// A wheel with many modules, made without a network.
const WHEEL: &str = "python3 -c \"
import zipfile
name = 'stormy-1.0'
with zipfile.ZipFile(name + '-py3-none-any.whl', 'w') as z:
    info = 'stormy-1.0.dist-info/'
    names = []
    def put(path, text):
        z.writestr(path, text); names.append(path)
    for n in range(150): put(f'stormy/part{n % 7}/m{n}.py', f'value = {n}\\n' * 20)
    put('stormy/__init__.py', '')
    put(info + 'METADATA', 'Metadata-Version: 2.1\\nName: stormy\\nVersion: 1.0\\n')
    put(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr(info + 'RECORD', ''.join(f'{n},,\\n' for n in names) + info + 'RECORD,,\\n')
\"";

#[test]
fn installing_a_package_is_taken_back() {
    let test = "installing_a_package_is_taken_back";
    let pip = std::process::Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !require(test, "pip", pip) {
        return;
    }
    const INSTALL: &str = "python3 -m pip install -q --no-index --no-deps --root-user-action ignore --disable-pip-version-check";
    storm(
        test,
        |bench| {
            shell(&bench.root, WHEEL);
            shell(
                &bench.tree,
                &format!("{INSTALL} --target old ../stormy-1.0-py3-none-any.whl"),
            );
        },
        &[
            &format!("{INSTALL} --target new ../stormy-1.0-py3-none-any.whl"),
            &format!("{INSTALL} --upgrade --target old ../stormy-1.0-py3-none-any.whl"),
            "python3 -m venv --without-pip env && rm -rf old",
        ],
    );
}

#[test]
fn a_build_is_taken_back() {
    let test = "a_build_is_taken_back";
    if !require(test, "cargo", has_program("cargo")) {
        return;
    }
    const CRATE: &str = "mkdir src && printf '[package]\\nname = \"tiny\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n[workspace]\\n' > Cargo.toml && \
        echo 'fn main() { println!(\"{}\", 1) }' > src/main.rs";
    const BUILD: &str = "unset CARGO_TARGET_DIR RUSTFLAGS; cargo build -q --offline";
    storm(
        test,
        |bench| shell(&bench.tree, CRATE),
        &[
            BUILD,
            &format!("{BUILD} && sed -i s/1/2/ src/main.rs && {BUILD} && rm -r target/debug/build"),
        ],
    );
}

/// Two processes that write, rename and delete in the same directories.
const WRITERS: &str = "
writer() {
    for i in $(seq 150); do
        echo $1$i > shared/$1$i; echo $i >> shared/both; mkdir -p shared/d$((i % 7))
        mv shared/$1$i shared/d$((i % 7))/ 2>/dev/null
        [ $((i % 5)) = 0 ] && rm -rf shared/d$(((i + 3) % 7))
        [ $((i % 11)) = 0 ] && mv shared/d$((i % 7)) shared/moved$1$i 2>/dev/null
    done; true
}
writer a & writer b & wait";

#[test]
fn two_writers_at_once_are_taken_back() {
    storm(
        "two_writers_at_once_are_taken_back",
        |bench| {
            shell(
                &bench.tree,
                "mkdir -p shared/d1/old shared/d2; echo x > shared/d1/old/x; echo y > shared/both",
            );
        },
        &[WRITERS],
    );
}

/// Directories that are renamed into each other, with files made and changed on the way.
const RENAMES: &str = "python3 -c \"
import os, random
random.seed(int(open('seed').read()))
def dirs(): return [d for d, _, _ in os.walk('.')]
for step in range(300):
    all = dirs()
    a, b = random.choice(all), random.choice(all)
    try:
        if a != '.' and not (b + '/').startswith(a + '/'): os.rename(a, os.path.join(b, random.choice('pqrstuvw')))
    except OSError: pass
    d = random.choice(dirs())
    with open(os.path.join(d, random.choice('123')), 'a') as f: f.write(str(step))
    if step % 4 == 0:
        try: os.mkdir(os.path.join(d, random.choice('xyz')))
        except OSError: pass
\"";

#[test]
fn directories_renamed_into_each_other_are_taken_back() {
    let plant = "for a in a b c d; do for b in e f g; do mkdir -p $a/$b/h; echo $a$b > $a/$b/1; echo x > $a/$b/h/2; done; done; echo 7 > seed";
    storm(
        "directories_renamed_into_each_other_are_taken_back",
        |bench| shell(&bench.tree, plant),
        &[
            RENAMES,
            &RENAMES.replace("open('seed').read()", "11"),
            &RENAMES.replace("open('seed').read()", "23"),
        ],
    );
}
