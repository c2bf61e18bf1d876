#!/usr/bin/env bats
# The small form of what `make torture-batch` does with ten thousand photos.

load lib/helpers

@test "a hundred photos of many formats, ten broken, the batch killed four times: one record each, the same bytes, nothing twice" {
    [ -e "$VQA_DATADIR/demo-model/model.safetensors" ] || skip "no share/demo-model"
    status_is 0 python3 "$repo/tests/torture/batch.py" 100 4
    [[ $output == *"10 of them broken: 100 records, 10 errors (data noinput"* ]]
    [[ $output == *"killed 4 times"*"each time the same bytes; 0 embeddings written again"* ]]
}
