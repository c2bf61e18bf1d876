#!/usr/bin/env bats
# vqa ask --explain: the page holds what it must, whatever the question and the file are called, and
# a browser, where there is one, shows it without a complaint.

load ../lib/helpers

examples=$repo/share/examples
page() { python3 "$repo/tests/lib/page.py" "$@"; }
small=$VQA_FIXTURES/checkpoints/tiny-blip2-opt-bf16

@test "the default model: the same answer, the question as typed, a map for each token and query" {
    question='what color is the circle?'
    want=$(vqa ask --no-cache "$examples/scene-1.png" "$question")
    status_is 0 vqa ask --explain=p.html "$examples/scene-1.png" "$question"
    [ "$output" = "$want" ]
    [ -z "$stderr" ]
    # the file, a veil for the class token, 32 queries and 2 tokens; 12 chips; 2 steps, 5 stages, a head
    [ "$(page p.html "$question" "$want")" = "36 36 12 8" ]
    grep -q 'this machine reads' p.html
}

@test "a checkpoint of the fixtures, beams and several answers, a picture of its own name" {
    name='<img src=x onerror=alert(1)>&"'\''.png'
    cp "$VQA_FIXTURES/images/astronaut.png" "$name"
    status_is 0 vqa ask -m "$small" --explain=p.html --num-beams 2 --num-return-sequences 2 "$name" $'</style><script>alert(1)</script> \xe2\x98\x83 &amp;'
    page p.html
    grep -q '<h1>&lt;/style&gt;&lt;script&gt;alert(1)&lt;/script&gt; ☃ &amp;amp;</h1>' p.html
    [ "$(grep -c '<p class="answer">' p.html)" -eq 2 ]
    grep -q '<th>from</th>' p.html
    status_is 0 vqa ask -m "$small" --explain "$name" 'x' 2>err
    says "vqa-explain.html"
    page vqa-explain.html
}

@test "a caption, several questions, an image from standard input" {
    status_is 0 vqa caption --explain=c.html "$examples/scene-1.png"
    [ "$(page c.html 'What is in the picture?' "$output" 2>&1 | tail -1)" != "" ]
    vqa ask --explain=q.html --question 'is there a circle?' --question 'how many shapes are there?' - <"$examples/scene-2.png" >out
    [ "$(grep -c . out)" -eq 2 ]
    [ "$(grep -c '<h1>' q.html)" -eq 2 ]
    [ "$(grep -c '<h2>The picture</h2>' q.html)" -eq 1 ]
    page q.html
}

@test "what cannot go together or fails leaves no page and nothing in the way" {
    mkdir tmp
    export TMPDIR=$PWD/tmp
    status_is 64 vqa ask --explain=p.html "$examples/scene-1.png" "$examples/scene-2.png" 'q'
    says "--explain is about one picture"
    status_is 64 vqa ask --explain=p.html --stream "$examples/scene-1.png" 'q'
    status_is 66 vqa ask --explain=p.html nosuch.png 'q'
    status_is 66 vqa ask --explain=p.html -m nosuch "$examples/scene-1.png" 'q'
    printf 'no picture' >bad.png
    status_is 65 vqa ask --explain=p.html bad.png 'q'
    [ ! -e p.html ]
    status_is 74 vqa ask --explain=nosuch/p.html "$examples/scene-1.png" 'q'
    says "nosuch/p.html"
    status_is 74 vqa ask --explain=/dev/full "$examples/scene-1.png" 'q'
    [ -c /dev/full ]
    [ -z "$(ls tmp)" ]
    TMPDIR=$PWD/none status_is 71 vqa ask --explain=p.html "$examples/scene-1.png" 'q'
}

@test "stopped by a signal: the status says so, and no file stays" {
    mkdir tmp
    mkfifo never
    for signal in TERM INT; do
        env --default-signal=INT TMPDIR="$PWD/tmp" vqa ask --explain=p.html - 'q' <>never &
        pid=$!
        while [ -z "$(ls tmp)" ] || ! pgrep -P $pid >/dev/null; do sleep 0.05; done
        kill -$signal $pid
        rc=0
        wait $pid || rc=$?
        [ $rc -eq $([ $signal = TERM ] && echo 143 || echo 130) ]
        [ -z "$(ls tmp)" ]
        [ ! -e p.html ]
    done
}

@test "a browser: no complaint, light and dark differ, nothing wider than a phone" {
    [ "$BUILD" != build-san ] || skip "a page of the same bytes was shown before"
    browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || skip "no chromium"
    run_browser() {
        timeout 100 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" \
            --enable-logging=stderr --allow-file-access-from-files "$@" 2>log
        ! grep CONSOLE log
    }
    vqa ask --explain=p.html --num-beams 2 "$examples/scene-1.png" 'what is an incomprehensibilities?' >/dev/null
    cat >outer.html <<'T'
<iframe src="p.html" style="width:390px;height:3000px;border:0" onload="
  var d = this.contentDocument, bad = [...d.images].filter(i => !i.complete || !i.naturalWidth).length;
  document.title = 'over ' + (d.documentElement.scrollWidth - d.documentElement.clientWidth) + ', bad ' + bad + ', dark ' +
    getComputedStyle(d.body).backgroundColor"></iframe>
T
    run_browser --dump-dom "file://$PWD/outer.html" >light
    run_browser --dump-dom --blink-settings=preferredColorScheme=0 "file://$PWD/outer.html" >dark
    grep -o 'over 0, bad 0, dark rgb(250, 250, 250)' light
    grep -o 'over 0, bad 0, dark rgb(21, 23, 27)' dark
    run_browser --window-size=1000,1400 --screenshot="$PWD/shot.png" "file://$PWD/p.html"
    [ "$(stat -c %s shot.png)" -gt 20000 ]
}
