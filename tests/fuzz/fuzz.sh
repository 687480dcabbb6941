#!/bin/sh
# What `make fuzz` does. Needs stable Rust and a C++ compiler: coverage is LLVM's own pass, no sanitizer takes part.
#
#   sh tests/fuzz/fuzz.sh run SECONDS [TARGET]   fuzzes each target, or one, for so long
#   sh tests/fuzz/fuzz.sh keep TARGET            keeps what reaches more code than the kept inputs do, 40 files at most
set -eu
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
host=$(rustc -vV | sed -n 's/^host: //p')
kept=tests/fuzz/corpus
found=target/fuzz

build() {
    # --target keeps the flags away from build scripts and macros, which have no fuzzer to report to.
    RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
        "$cargo" build --locked --profile fuzz --target "$host" -p snapback-fuzz --features libfuzzer --bin fuzz
}

# The fuzzer with the target $1, and whatever else is given.
fuzz() {
    name=$1
    shift
    FUZZ_TARGET=$name "target/$host/fuzz/fuzz" -max_len=8192 -timeout=20 -rss_limit_mb=2048 "$@"
}

case $1 in
run)
    build
    for name in ${3:-$(ls "$kept")}; do
        mkdir -p "$found/$name"
        echo "fuzz: $name for $2 s; what reaches new code goes to $found/$name"
        fuzz "$name" -max_total_time="$2" -print_final_stats=1 -artifact_prefix="$found/$name-failed-" \
            -dict="tests/fuzz/dictionary/$name.dict" "$found/$name" "$kept/$name"
    done
    ;;
keep)
    build
    new=$found/$2-new
    rm -rf "$new"
    mkdir -p "$new"
    # By edges alone, and one input for each: few of them.
    fuzz "$2" -set_cover_merge=1 -use_counters=0 -max_len=2048 "$new" "$kept/$2" "$found/$2"
    room=$((40 - $(ls "$kept/$2" | wc -l)))
    # The largest reach most.
    for file in $(ls -S "$new" | head -n "$room"); do
        cmp -s "$new/$file" "$kept/$2/$file" || cp "$new/$file" "$kept/$2/"
    done
    ls "$kept/$2" | wc -l
    ;;
esac
