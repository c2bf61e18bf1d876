#!/usr/bin/env bats
# make install and uninstall: what arrives, that it runs from there, that it all goes again.

load lib/helpers

# Not with another PREFIX: that links anew what other tests are running.
@test "installed programs find their stages, data and pages; uninstall leaves nothing" {
    make -s -C "$repo" install DESTDIR="$PWD/root"
    for c in "$repo"/cmd/*.c; do
        name=$(basename "$c" .c)
        status_is 0 "root/usr/local/bin/$name" --version
        [[ $output == "$name (vqatools) $(cat "$repo/VERSION")"* ]]
    done
    for p in "$repo"/man/*.[1-9]; do
        cmp "$p" "root/usr/local/share/man/man${p##*.}/$(basename "$p")"
    done
    if [ -e "$repo/share/demo-model/model.safetensors" ]; then
        diff -r "$repo/share/demo-model" root/usr/local/share/vqatools/demo-model
        run -0 env -u VQA_DATADIR PATH=/usr/bin:/bin root/usr/local/bin/vqa ask \
            root/usr/local/share/vqatools/examples/scene-1.png 'How many shapes are there?'
        [ -n "$output" ]
    fi
    make -s -C "$repo" uninstall DESTDIR="$PWD/root"
    [ -z "$(find root -type f -o -type l)" ]
    [ ! -e root/usr/local/share/vqatools ]
}

@test "a foreign file in the same places stays" {
    mkdir -p root/usr/local/bin root/usr/local/share/man/man1
    touch root/usr/local/bin/other root/usr/local/share/man/man1/other.1
    make -s -C "$repo" install DESTDIR="$PWD/root"
    make -s -C "$repo" uninstall DESTDIR="$PWD/root"
    [ "$(find root -type f | wc -l)" -eq 2 ]
}
