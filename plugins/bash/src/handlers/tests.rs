use deployx_plugin_sdk::table::Table;

use crate::tables;

fn table() -> Table {
    tables::embedded().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_table_is_valid_and_names_handlers_that_exist() {
    let table = table();
    if let Err(error) = table.check(&super::all()) {
        panic!("{error}");
    }
    assert!(table.names().count() >= 250);
}

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Depth, Inference, PathInference, Request};

use crate::BashRules;

fn view() -> MemoryView {
    let mut view = MemoryView::new(&[
        "/srv/app/a.txt",
        "/srv/app/b.txt",
        "/srv/app/logs/a.log",
        "/srv/app/logs/b.log",
        "/srv/app/logs/keep.txt",
        "/srv/app/releases/1/x",
        "/srv/app/releases/2/x",
        "/srv/app/current -> releases/1",
        "/srv/app/src/m.c",
        "/srv/app/.git/HEAD",
        "/srv/app/.git/index",
        "/srv/app/.git/hooks/pre-commit.sample",
        "/srv/app/empty/",
        "/srv/app/db.sqlite",
        "/srv/app/big.gz",
        "/home/u/.bashrc",
        "/tmp/",
        "/etc/passwd",
        "/srv/app/fix.patch",
    ]);
    view.file(
        "/srv/app/fix.patch",
        "--- a/src/m.c\n+++ b/src/m.c\n@@ -1 +1 @@\n",
    );
    view
}

fn infer(line: &str) -> Inference {
    let request = Request {
        shell: "bash".into(),
        command: line.into(),
        cwd: b"/srv/app".to_vec(),
        home: Some(b"/home/u".to_vec()),
        ..Request::default()
    };
    BashRules::new().infer(&request, &view())
}

/// Paths with a letter for the depth: `e`, `c`, `t`; relative to the working directory.
fn paths(found: &Inference) -> Vec<String> {
    let mut paths: Vec<String> = found
        .paths
        .iter()
        .map(|used| {
            let text = String::from_utf8_lossy(&used.path).into_owned();
            let short = text.strip_prefix("/srv/app/").unwrap_or(&text).to_string();
            let depth = match used.depth {
                Depth::Entry => 'e',
                Depth::Children => 'c',
                Depth::Tree => 't',
            };
            format!("{depth}:{short}")
        })
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Lines that are understood, each with every path that must be listed, and with what must not be.
const UNDERSTOOD: &[(&str, &[&str], &[&str])] = &[
    ("rm -rf logs", &["t:logs"], &["t:/srv/app"]),
    ("rmdir -p logs/x", &["c:logs", "c:logs/x"], &["t:logs"]),
    ("chmod -x a.txt", &["e:a.txt"], &["t:logs"]),
    ("chmod -R u+w logs", &["t:logs"], &["t:/srv/app"]),
    ("chown -R u:g logs", &["t:logs"], &[]),
    ("touch a.txt new", &["e:a.txt", "t:new"], &[]),
    (
        "ln -sfn releases/2 current",
        &["e:current"],
        &["t:releases/2"],
    ),
    ("cp -b a.txt b.txt", &["e:b.txt", "t:b.txt~"], &[]),
    (
        "cp --parents logs/a.log empty",
        &["t:empty/logs/a.log"],
        &["t:empty"],
    ),
    ("mv -T a.txt b.txt", &["e:b.txt", "t:a.txt"], &[]),
    ("install -D a.txt deep/er/x", &["t:deep"], &[]),
    ("install -d one/two", &["t:one"], &[]),
    (
        "split -l 10 a.txt empty/part",
        &["c:empty"],
        &["c:/srv/app"],
    ),
    ("mktemp -d", &["c:/tmp"], &[]),
    ("mktemp empty/xXXXXXX", &["c:empty"], &[]),
    ("dd if=a.txt of=b.txt bs=1", &["e:b.txt"], &[]),
    (
        "find logs -name '*.log' -delete",
        &["e:logs/a.log", "e:logs/b.log"],
        &["t:logs"],
    ),
    (
        "find logs -name '*.log' -exec rm {} +",
        &["t:logs/a.log", "t:logs/b.log"],
        &["t:logs"],
    ),
    ("find logs -delete", &["t:logs"], &[]),
    (
        "find logs -type f ! -name '*.log' -delete",
        &["t:logs"],
        &[],
    ),
    (
        "find logs -name '*.log' -o -type d -exec chmod 700 {} +",
        &["e:logs", "e:logs/a.log", "e:logs/keep.txt"],
        &["t:logs"],
    ),
    ("tree -ao out", &["t:out"], &[]),
    ("ar rcs lib.a a.o b.o", &["t:lib.a"], &["t:a.o"]),
    ("find . -maxdepth 1 -name '*.txt'", &[], &["t:/srv/app"]),
    (
        "sed -i.bak 's/a/b/' a.txt",
        &["e:a.txt", "t:a.txt.bak"],
        &[],
    ),
    ("sed -n '/x/w out' a.txt", &["t:out"], &[]),
    ("sed 's/a/b/' a.txt", &[], &["e:a.txt"]),
    ("awk '{print $1 > \"out\"}' a.txt", &["t:out"], &[]),
    ("awk '$3 > 5' a.txt", &[], &["e:a.txt"]),
    ("perl -pi -e 's/a/b/g' a.txt", &["e:a.txt"], &[]),
    (
        "perl -i.bak -pe 's/a/b/' a.txt",
        &["e:a.txt", "t:a.txt.bak"],
        &[],
    ),
    ("tar czf out.tgz logs", &["t:out.tgz"], &["t:logs"]),
    ("tar xzf out.tgz -C empty", &["t:empty"], &["t:/srv/app"]),
    (
        "tar -xf out.tar -C empty one two/x",
        &["t:empty/one", "t:empty/two"],
        &["t:empty"],
    ),
    ("tar tzf out.tgz", &[], &["t:/srv/app"]),
    ("tar cf - logs", &[], &["t:-"]),
    ("zip -r out.zip logs", &["t:out.zip"], &["t:logs"]),
    ("zip -rm out.zip logs", &["t:logs", "t:out.zip"], &[]),
    ("unzip -o x.zip -d empty", &["t:empty"], &["t:/srv/app"]),
    ("unzip -l x.zip", &[], &["t:/srv/app"]),
    ("gzip a.txt", &["t:a.txt", "t:a.txt.gz"], &[]),
    ("gunzip -k big.gz", &["t:big"], &["t:big.gz"]),
    ("xz -dc big.xz", &[], &["t:big"]),
    ("zstd --rm a.txt", &["t:a.txt", "t:a.txt.zst"], &[]),
    ("patch -p1 -i fix.patch", &["e:src/m.c"], &["t:/srv/app"]),
    ("patch -p1 < fix.patch", &["t:/srv/app"], &[]),
    ("git add -A", &["t:.git/objects"], &["t:/srv/app"]),
    ("git commit -m x", &["t:.git"], &["t:/srv/app"]),
    ("git checkout -- a.txt", &["t:a.txt"], &["t:/srv/app"]),
    ("git checkout main", &["t:.git", "t:/srv/app"], &[]),
    ("git checkout -b new", &["t:.git"], &["t:/srv/app"]),
    ("git reset --hard HEAD~1", &["t:.git", "t:/srv/app"], &[]),
    ("git clean -fdx logs", &["t:logs"], &["t:/srv/app"]),
    (
        "git clone https://example.org/a/tool.git",
        &["t:tool"],
        &["t:/srv/app"],
    ),
    ("git rm -r logs", &["t:logs"], &[]),
    ("git log --oneline", &[], &["t:.git"]),
    ("git stash list", &[], &["t:.git"]),
    ("git init sub", &["t:sub"], &[]),
    ("git -C releases init", &["t:releases/.git"], &[]),
    ("sudo rm -f /etc/passwd", &["t:/etc/passwd"], &[]),
    ("sudo -u www env A=1 touch new", &["t:new"], &[]),
    ("nice -n 5 rm a.txt", &["t:a.txt"], &[]),
    ("timeout 5 rm a.txt", &["t:a.txt"], &[]),
    ("nohup rm a.txt", &["t:a.txt"], &[]),
    ("flock lock -c 'rm a.txt'", &["t:a.txt", "t:lock"], &[]),
    ("bash -c 'rm a.txt'", &["t:a.txt"], &[]),
    ("su - u -c 'rm /srv/app/a.txt'", &["t:a.txt"], &[]),
    ("env -C logs rm a.log", &["t:logs/a.log"], &[]),
    ("curl -fsSLo out https://example.org/x", &["t:out"], &[]),
    (
        "curl -O https://example.org/d/file.tgz?x=1",
        &["t:file.tgz"],
        &[],
    ),
    (
        "wget -q https://example.org/d/file.tgz",
        &["t:file.tgz"],
        &[],
    ),
    ("wget -nv -O - https://example.org/", &[], &["t:-"]),
    (
        "rsync -a --delete logs/ empty/",
        &["t:empty"],
        &["t:/srv/app"],
    ),
    ("rsync -a logs empty", &["t:empty/logs"], &["t:empty"]),
    ("rsync -a logs host:/srv", &[], &["t:/srv/app"]),
    ("scp host:/x/file empty", &["t:empty/file"], &["t:empty"]),
    ("gcc -c src/m.c", &["t:m.o"], &["t:/srv/app"]),
    ("gcc -O2 src/m.c -o m", &["t:m"], &[]),
    (
        "sqlite3 db.sqlite 'insert into t values (1)'",
        &["e:db.sqlite", "t:db.sqlite-journal"],
        &[],
    ),
    ("python3 -m venv .venv", &["t:.venv"], &["t:/srv/app"]),
    (
        "openssl req -new -newkey rsa:2048 -nodes -keyout k.pem -out c.csr",
        &["t:c.csr", "t:k.pem"],
        &[],
    ),
    (
        "ssh-keygen -t ed25519 -N '' -f key",
        &["t:key", "t:key.pub"],
        &[],
    ),
    ("grep -rn x logs", &[], &["t:logs"]),
    ("sort -o b.txt a.txt", &["e:b.txt"], &[]),
    ("tee -a b.txt", &["e:b.txt"], &[]),
    ("docker run -v /srv/app/logs:/x:rw img", &["t:logs"], &[]),
    ("systemctl restart nginx", &[], &["t:/etc"]),
    ("truncate -s 0 logs/a.log", &["e:logs/a.log"], &[]),
    ("shred -u a.txt", &["t:a.txt"], &[]),
    ("date +%F", &[], &[]),
    ("ip addr show", &[], &[]),
    ("xargs grep x", &[], &["t:/srv/app"]),
];

#[test]
fn known_lines_are_understood_and_precise() {
    let mut wrong: Vec<String> = Vec::new();
    for (line, wanted, unwanted) in UNDERSTOOD {
        let found = infer(line);
        let listed = paths(&found);
        let missing: Vec<_> = wanted
            .iter()
            .filter(|p| !listed.iter().any(|l| l == *p))
            .collect();
        let wide: Vec<_> = unwanted
            .iter()
            .filter(|p| listed.iter().any(|l| l == *p))
            .collect();
        if !missing.is_empty() || !wide.is_empty() || !found.unclear.is_empty() {
            let reasons: Vec<_> = found.unclear.iter().map(|u| u.reason.clone()).collect();
            wrong.push(format!(
                "{line}: missing {missing:?} wide {wide:?} unclear {reasons:?} of {listed:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn riddles_are_said_to_be_unclear() {
    for line in [
        "make",
        "npm run build",
        "python3 x.py",
        "bash deploy.sh",
        "curl x | sh",
        "sed 's/a/b/e' a.txt",
        "awk '{print > $1}' a",
        "perl -e 'unlink 1'",
        "xargs rm",
        "find -L . -exec sh -c 'rm {}' \\;",
        "find . -newthing x -delete",
        "parallel rm",
        "vim +x -c ':wq' a",
        "tar xf a.tar --to-command=x",
        "tar xPf a.tar",
        "rsync -a -e ./x a b",
        "git -c core.hooksPath=x commit -m y",
        "sudo -i",
        "cpio -i",
        "rename 's/a/b/e' *.txt",
        "git unknown",
        "tar xf \"$a\" -C \"$b\"",
        "chmod \"$x\"",
        "rm --unknown a",
        "curl -K conf",
    ] {
        assert!(!infer(line).unclear.is_empty(), "{line}");
    }
}

#[test]
fn hooks_of_the_repository_make_a_commit_unclear() {
    let mut view = view();
    view.file("/srv/app/.git/hooks/pre-commit", "#!/bin/sh\n");
    let request = Request {
        shell: "bash".into(),
        command: b"git commit -m x".to_vec(),
        cwd: b"/srv/app".to_vec(),
        home: Some(b"/home/u".to_vec()),
        ..Request::default()
    };
    assert!(!BashRules::new().infer(&request, &view).unclear.is_empty());
}

#[test]
fn effects_are_told() {
    for (line, what) in [
        ("systemctl stop nginx", "service"),
        ("git push", "remote"),
        ("mkfs.ext4 /dev/sdb1", "device"),
        ("kill 1", "process"),
        ("apt-get install -y curl", "packages"),
        ("psql -c 'drop table t'", "database"),
        ("dd if=x of=/dev/sda", "device"),
        ("docker rm x", "container"),
        ("date -s 10:00", "time"),
        ("ssh host rm x", "remote"),
        ("mount /dev/sdb1 /mnt", "kernel"),
        ("curl https://example.org", "network"),
    ] {
        let found = infer(line);
        assert!(
            found.irreversible.iter().any(|effect| effect.what == what),
            "{line}: {:?}",
            found.irreversible
        );
    }
}
