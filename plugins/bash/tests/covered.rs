//! Lines whose changes were once passed over in silence: each must be covered, or said to be unclear.

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Depth, Inference, PathInference, Request};
use deployx_rules_bash::BashRules;

/// Lines in `/w`, each with a path that it changes.
const CHANGES: &[(&str, &str)] = &[
    ("tar xf a.tar /etc/hosts", "/w/etc/hosts"),
    ("tar xf a.tar -C dir --one-top-level=sub", "/w/dir/sub/x"),
    ("tar xf a.tar --no-anchored foo.txt", "/w/deep/foo.txt"),
    ("tar xf a.tar --ignore-case README", "/w/readme"),
    ("tar xf a.tar --backup a.txt", "/w/a.txt~"),
    ("tar --backup -cf a.txt dir", "/w/a.txt~"),
    ("zip -ds 10m out.zip a.txt", "/w/out.zip"),
    ("zip -r -ws out.zip dir", "/w/out.zip"),
    ("zip -m out.zip -@", "/w/b.txt"),
    ("zip -m -R out.zip '*.txt'", "/w/dir/z.txt"),
    ("zip --output-file=new.zip a.zip a.txt", "/w/new.zip"),
    ("unzip -j a.zip dir/file", "/w/file"),
    ("unzip -L a.zip README", "/w/readme"),
    ("unzip -B a.zip a.txt", "/w/a.txt~"),
    ("7z x a.7z '-o*'", "/w/a/x"),
    ("7z a -tzip out dir", "/w/out.zip"),
    ("7z a -sdel out.7z '*.log'", "/w/c.log"),
    ("curl -T a.txt file:///data/deep/b.txt", "/data/deep/b.txt"),
    ("curl -w '%output{x.txt}' http://h/", "/w/x.txt"),
    ("wget --warc-file=/data/w http://h/y", "/data/w.warc.gz"),
    ("wget2 http://h/y", "/home/me/.local/share/wget/hsts"),
    ("ssh -o UserKnownHostsFile=./kh host ls", "/w/kh"),
    ("ssh -o 'ProxyCommand=cmd --x=no' host ls", "/w/a.txt"),
    ("ssh -M -S ./sock host", "/w/sock"),
    ("git fsck --lost-found", "/w/.git/lost-found/commit/x"),
    ("git merge-tree --write-tree a b", "/w/.git/objects/aa"),
    ("git index-pack x.pack", "/w/x.idx"),
    ("git pack-objects base", "/w/base-1.pack"),
    ("git rerere", "/w/a.txt"),
    (
        "git checkout-index -a -f --prefix=/data/exp/",
        "/data/exp/a",
    ),
    ("git read-tree --index-output=/data/x HEAD", "/data/x"),
    ("git merge-index prog -a", "/w/a.txt"),
    ("git apply --stat --apply x.patch", "/w/a.txt"),
    ("git -c core.fsmonitor=cmd status", "/w/a.txt"),
    ("git -c core.pager=cmd log", "/w/a.txt"),
    ("GIT_EXTERNAL_DIFF=cmd git diff", "/w/a.txt"),
    (
        "GIT_CONFIG_GLOBAL=/data/c git config --global a.b c",
        "/data/c",
    ),
    (
        "XDG_CONFIG_HOME=/data/c git config --global a.b c",
        "/data/c/git/config",
    ),
    ("git worktree repair", "/other/.git"),
    ("git mv sub new", "/w/.gitmodules"),
    ("git fetch --upload-pack=cmd o", "/w/a.txt"),
    (
        "helm repo add x url",
        "/home/me/.config/helm/repositories.yaml",
    ),
    ("rustup update", "/home/me/.rustup/toolchains/x"),
    ("docker container run -v $PWD:/x img rm", "/w/a.txt"),
    ("docker image save -o x.tar img", "/w/x.tar"),
    ("docker container cp c:/f .", "/w/f"),
    ("docker context export foo out.tar", "/w/out.tar"),
    ("docker start c", "/w/a.txt"),
    ("docker run --rm -itv /data:/x img", "/data/deep"),
    ("docker run -v/data:/x img", "/data/deep"),
    ("docker run --volumes-from c img", "/data/deep"),
    ("docker run --cidfile=x img", "/w/x"),
    ("podman unshare rm a.txt", "/w/a.txt"),
    ("kubectl kustomize . -o out.yaml", "/w/out.yaml"),
    ("kubectl krew install x", "/home/me/.krew/bin/x"),
    ("go mod tidy -C dir", "/w/dir/go.mod"),
    (
        "cargo add --manifest-path dir/Cargo.toml serde",
        "/w/dir/Cargo.toml",
    ),
    ("prlimit --nofile=10 rm a.txt", "/w/a.txt"),
    ("xmllint -output out.xml in.xml", "/w/out.xml"),
    ("dos2unix -iso a.txt", "/w/a.txt"),
    ("ncdu -o x.json", "/w/x.json"),
    ("info -o out bash", "/w/out"),
    ("man -P 'rm a.txt' ls", "/w/a.txt"),
    ("tree -R -H . -L 2", "/w/dir/00Tree.html"),
    ("sar -o data 1 3", "/w/data"),
    ("jaq -i .a x.json", "/w/x.json"),
    ("pv a.txt -o b", "/w/b"),
    ("cloc --out=x .", "/w/x"),
    ("cppcheck --output-file=x a.c", "/w/x"),
    ("ab -e x.csv http://h/", "/w/x.csv"),
    ("strace -ff -o out ls", "/w/out.1"),
    ("patch -b -V numbered a.txt p", "/w/a.txt.~1~"),
    ("zstd dir/x -oout", "/w/out"),
    ("zstd --output-dir-flat=dir a.txt", "/w/dir/a.txt.zst"),
    ("zstd --format=gzip a.txt", "/w/a.txt.gz"),
    ("brotli -S .x a.txt", "/w/a.txt.x"),
    ("openssl enc -in a -out=b", "/w/b"),
    ("openssl ocsp -respout f -issuer c", "/w/f"),
    ("ssh-keygen -Hf kh", "/w/kh.old"),
    (
        "gpg --no-default-keyring --keyring ./k.gpg --import x",
        "/w/k.gpg",
    ),
    ("gpg --multifile -d a.gpg", "/w/a"),
    ("cpio -o -Hustar -O out", "/w/out"),
    ("cpio -o -Fout", "/w/out"),
    ("VERSION_CONTROL=numbered cp -b a.txt b.txt", "/w/b.txt.~1~"),
    ("awk -d '{print}' a.txt", "/w/awkvars.out"),
    (r#"awk '{ print > "o\x75t" }' a.txt"#, "/w/out"),
    (r#"awk '{print x++/y > "out"; z = 2/1}' a.txt"#, "/w/out"),
    (r#"perl -pe 's/a/$x[unlink "b.txt"]/' a.txt"#, "/w/b.txt"),
    ("perl -ne 'print if /x/' 'rm a.txt|'", "/w/a.txt"),
    ("perl -pe 's/a/b/' '>out'", "/w/out"),
    ("ldconfig -n dir", "/w/dir/libx.so.1"),
    ("updatedb -o x", "/w/x"),
    ("mandb dir", "/w/dir/index.db"),
    ("localedef -i en -f UTF-8 ./en", "/w/en/LC_TIME"),
    ("sgdisk --backup=x /dev/sda", "/w/x"),
    ("postmap hash:./x", "/w/x.db"),
    ("systemctl clean x", "/var/lib/x"),
    ("rpm -qa --pipe 'tee f'", "/w/f"),
    ("apt-get source -b x", "/w/x/y"),
    ("trash-restore", "/w/a.txt"),
];

fn ask(line: &str, cwd: &str, view: &MemoryView) -> Inference {
    let request = Request {
        shell: "bash".into(),
        command: line.into(),
        cwd: cwd.into(),
        home: Some(b"/home/me".to_vec()),
        ..Request::default()
    };
    BashRules::new().infer(&request, view)
}

fn covered(found: &Inference, path: &str) -> bool {
    let within = |above: &str| {
        path.strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    found.paths.iter().any(|used| {
        let above = String::from_utf8_lossy(&used.path);
        match used.depth {
            Depth::Entry => *above == *path,
            Depth::Children => {
                within(&above) && !path[above.len()..].trim_start_matches('/').contains('/')
            }
            Depth::Tree => within(&above),
        }
    })
}

#[test]
fn nothing_is_missed_in_silence() {
    let view = MemoryView::new(&[
        "/w/a.txt",
        "/w/b.txt",
        "/w/c.log",
        "/w/dir/x",
        "/w/.git/HEAD",
        "/w/.git/objects/x",
        "/data/deep/z",
        "/home/me/notes",
    ]);
    let missed: Vec<String> = CHANGES
        .iter()
        .filter_map(|(line, path)| {
            let found = ask(line, "/w", &view);
            let silent = found.unclear.is_empty() && !covered(&found, path);
            silent.then(|| format!("{line}: {path} of {:?}", found.paths))
        })
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_linked_work_tree_changes_the_repository_that_it_shares() {
    let mut view = MemoryView::new(&["/main/.git/objects/x", "/main/.git/refs/x", "/wt/a.txt"]);
    view.file("/wt/.git", "gitdir: /main/.git/worktrees/wt\n");
    view.file("/main/.git/worktrees/wt/commondir", "../..\n");
    view.file("/main/.git/worktrees/wt/index", "");
    for (line, path) in [
        ("git add a.txt", "/main/.git/worktrees/wt/index"),
        ("git add a.txt", "/main/.git/objects/aa"),
        ("git branch new", "/main/.git/refs/heads/new"),
        ("git status", "/main/.git/worktrees/wt/index"),
        ("git config a.b c", "/main/.git/config"),
    ] {
        let found = ask(line, "/wt", &view);
        assert!(covered(&found, path), "{line}: {path} of {:?}", found.paths);
    }
}

#[test]
fn a_patch_of_git_changes_files_that_only_its_headers_name() {
    let mut view = MemoryView::new(&["/w/dir/x"]);
    view.file(
        "/w/p",
        "diff --git a/e b/e\nnew file mode 100644\ndiff --git a/dir/x b/dir/y\n\
         similarity index 100%\nrename from dir/x\nrename to dir/y\n",
    );
    let found = ask("patch -p1 -i p", "/w", &view);
    for path in ["/w/e", "/w/dir/x", "/w/dir/y"] {
        assert!(covered(&found, path), "{path} of {:?}", found.paths);
    }
}
