#!/usr/bin/env bash
# Builds the tree in which the lines of bash.toml run, in the directory given: a project with a
# repository (app), a neighbour (other), a home directory (home), a place for temporary files (tmp)
# and the repository's origin (remote.git). Times lie in the past, but for a few files.
set -euo pipefail
root=$1
export HOME=$root/home LC_ALL=C GIT_CONFIG_NOSYSTEM=1
umask 022
mkdir -p "$root"/{app,other,home,tmp}

cd "$root/home"
mkdir -p .ssh .cache/pip .local/bin bin Downloads
cat > .gitconfig <<'X'
[user]
	name = Tester
	email = tester@example.com
[init]
	defaultBranch = main
	templateDir =
[protocol "file"]
	allow = always
[gc]
	auto = 0
[maintenance]
	auto = false
[advice]
	detachedHead = false
X
printf 'Host *\n  ServerAliveInterval 30\n' > .ssh/config
printf 'example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n' > .ssh/known_hosts
chmod 700 .ssh && chmod 600 .ssh/*
echo 'export EDITOR=vi' > .bashrc
echo '. ~/.bashrc' > .profile
echo 'set nocompatible' > .vimrc
echo cached > .cache/pip/x
echo 'echo setup' > Downloads/setup.sh
echo bytes > Downloads/archive.tgz
printf '#!/bin/sh\necho tool\n' > bin/tool && chmod +x bin/tool

cd "$root/other"
mkdir -p www/css backup incoming
echo '<h1>old</h1>' > www/index.html
echo 'h1 { color: red }' > www/css/site.css
echo 'remember the milk' > notes.txt
printf '1,x\n' > incoming/one.csv
printf '2,y\n' > incoming/two.csv

cd "$root/app"
mkdir -p src/lib src/styles src/templates docs/old docs/img logs/archive config data scripts bin \
    shared/uploads shared/log build/lib node_modules/left-pad node_modules/.bin tmp/cache tmp/pids \
    tmp/sessions backups public/css public/js photos 'odd names'
printf '// TODO: foo\nvar foo = 1;\nvar start = 2; // end\n' > src/index.js
printf 'var util = "foo";\n// old way\nmodule.exports = util;\n' > src/util.js
printf 'exports.parse = 1; // TODO\n' > src/lib/parse.js
printf 'exports.format = 1;\n' > src/lib/format.js
printf 'exports.legacy = 1;\n' > src/lib/legacy.js.bak
printf '#include "util.h"\nint main(void)\n{\n\treturn util(1);\n}\n' > src/main.c
printf '#include "util.h"\nint util(int x)\n{\n\treturn x - 1;\n}\n' > src/util.c
printf 'int util(int x);\n' > src/util.h
printf 'body { margin: 0 }\n' > src/styles/main.css
printf 'body { color: black }\n' > src/styles/print.css
printf '<html>{{ body }}</html>\n' > src/templates/page.html
printf '# Guide\r\n\r\n## Install\r\nrun it\r\n## Use\r\nuse it, the old way\r\n' > docs/guide.md
printf '# App\nstart here, end there\n' > docs/README.md
printf 'long ago\n' > docs/old/2019.md
head -c 3000 /dev/zero | tr '\0' '\211' > docs/img/logo.png
printf '# App\n\nInstall it.\n' > README.md
printf '# Changes\n' > CHANGELOG.md
printf 'MIT\n' > LICENSE
printf '1.0.0\n' > VERSION
printf 'APP_NAME=app\nVERSION=1.0.0\nDEBUG=1\nSECRET=hunter2\n' > .env
printf 'APP_NAME=\nVERSION=\n' > .env.example
printf 'build/\nnode_modules/\nlogs/\ntmp/\nbackups/\n.env\nreleases/\ncurrent\nprevious\n*.tar\n*.gz\n*.zip\n' > .gitignore
printf '# app\nport=8080\ndebug=true\n' > config/app.conf
printf '# app\nport=80\ndebug=$DEBUG\n' > config/app.conf.dist
printf 'server {\n  listen 80;\n  server_name localhost;\n}\n' > config/nginx.conf
printf 'production:\n  password: hunter2\n' > config/database.yml
printf '[db]\nname=app\n\n[cache]\nttl=10\n' > config/settings.ini
printf '{"port": 8000, "beta": false}\n' > config/feature.json
printf 'id,name,team\n1,ann,red\n2,bob,blue\n3,cid,red\n' > data/users.csv
printf 'id,user,amount\n10,1,5\n11,2,25\n' > data/orders.csv
printf '[{"b": 1, "a": 2}]\n' > data/items.json
head -c 65536 /dev/zero | tr '\0' 'x' > data/big.bin
if command -v sqlite3 > /dev/null; then
    sqlite3 data/app.db 'create table users(id integer primary key, name); insert into users(name) values ("ann"), ("bob");'
fi
printf '#!/bin/sh\necho "deploying $1"\ntouch tmp/deployed\nln -sfn releases/20240215 current\n' > scripts/deploy.sh
printf '#!/bin/sh\ntar czf backups/scripted.tar.gz data\nrm -f backups/db-2024-01-01.sql.gz\n' > scripts/backup.sh
printf '#!/bin/sh\nrm -rf build\n' > bin/run
chmod +x scripts/*.sh bin/run
printf '<h1>hello</h1>\n' > public/index.html
printf 'h1 { color: blue }\n' > public/css/site.css
printf 'console.log(1)\n' > public/js/app.js
printf 'a' > shared/uploads/a.jpg
printf 'b' > shared/uploads/b.jpg
printf 'level: 1\n' > shared/config.yml
printf 'production\n' > shared/log/production.log
for release in 20240101 20240215 20240301; do
    mkdir -p releases/$release/public
    echo "console.log('$release')" > releases/$release/app.js
    echo $release > releases/$release/VERSION
    echo "<h1>$release</h1>" > releases/$release/public/index.html
done
ln -s releases/20240301 current
ln -s releases/20240215 previous
printf 'object\n' > build/app.o
printf 'object\n' > build/util.o
printf 'archive\n' > build/lib/libutil.txt
printf 'module.exports = 1\n' > node_modules/left-pad/index.js
printf '{"name": "left-pad", "version": "1.0.0"}\n' > node_modules/left-pad/package.json
ln -s ../left-pad/index.js node_modules/.bin/left-pad
printf 'a\n' > tmp/cache/a.cache
printf 'b\n' > tmp/cache/b.cache
printf '999999\n' > tmp/pids/app.pid
for session in 1 2 3; do echo $session > tmp/sessions/sess_$session; done
for log in app access error; do printf 'info one\nerror two\nDEBUG three\n' > logs/$log.log; done
printf 'older\n' > logs/app.log.1
printf 'archived\n' | gzip -n > logs/archive/2023.log.gz
for day in 1 2 3 4 5; do echo "-- dump $day" | gzip -n > backups/db-2024-01-0$day.sql.gz; done
printf '{"name": "app", "version": "1.0.0", "files": ["src/index.js"]}\n' > package.json
printf 'FROM scratch\nCOPY . /\n' > Dockerfile
cat > Makefile <<'X'
PREFIX ?= /usr/local
build/program: src/main.c src/util.c
	mkdir -p build
	$(CC) -o $@ src/main.c src/util.c
clean:
	rm -rf build
install:
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/app/README.md
.PHONY: clean install
X
printf 'mine\n' > 'my file.txt'
printf 'final\n' > 'Report (final).txt'
printf 'a\n' > 'odd names/a b.txt'
printf 'n\n' > 'odd names/'$'new\nline'
printf 'd\n' > 'odd names/-dash'
printf 's\n' > 'odd names/*star*'
printf 'q\n' > "odd names/it's.txt"
printf 'h\n' > 'odd names/$HOME.txt'
printf 'u\n' > 'odd names/ünïcode.txt'
for photo in 1 2 3 4 5; do printf '%s\n' $photo > photos/IMG_000$photo.JPG; done
printf '6\n' > 'photos/IMG 6.jpeg'

# Archives, of things that are then taken away.
mkdir -p dist/assets vendor-1.2 site/css
echo 'dist' > dist/app.js && echo 'asset' > dist/assets/logo.svg
echo 'vendor' > vendor-1.2/lib.c && echo 'read me' > vendor-1.2/README
echo 'site' > site/index.html && echo 'css' > site/css/a.css
tar czf dist.tar.gz dist
tar cf vendor.tar vendor-1.2
if command -v zip > /dev/null; then zip -qr site.zip site; fi
rm -r dist vendor-1.2 site
cat > fix.patch <<'X'
--- a/src/util.js
+++ b/src/util.js
@@ -1,3 +1,3 @@
-var util = "foo";
+var util = "fixed";
 // old way
 module.exports = util;
X

# Where there are names of a repository: three commits, two branches, an origin that is ahead, and
# work that is not committed.
git init -q .
git add -A
git commit -q -m 'Begin'
git tag v1.0.0
git checkout -q -b release/1.x
git checkout -q -b feature/login
echo 'login' > src/login.js
git add -A
git commit -q -m 'Add the login'
git checkout -q main
echo 'more' >> CHANGELOG.md
git commit -q -am 'Note a change'
git clone -q --bare . ../remote.git
git remote add origin ../remote.git
git clone -q ../remote.git ../tmp/ahead
(cd ../tmp/ahead && echo 'upstream' > UPSTREAM && git add -A && git commit -q -m 'Go ahead' && git push -q)
rm -rf ../tmp/ahead
git repack -adq && git -C ../remote.git repack -adq && git pack-refs --all
git fetch -q origin main:refs/remotes/origin/main
git branch -q -u origin/main main
git update-ref refs/remotes/origin/main HEAD
echo '// not committed' >> src/index.js
echo 'scratch' > notes.tmp

find "$root" -depth -exec touch -h -d '2024-03-04 05:06:07.123456789' {} +
touch tmp/cache/b.cache logs/app.log
touch -d '2024-02-02 02:02:02' LICENSE releases/20240101
touch -d '2024-02-15 02:02:02' releases/20240215
