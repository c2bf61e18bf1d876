/* question.h - records as opt-generate takes and gives them: input_ids, attention_mask and
 * language_model_inputs in; output_ids, score and finish out. Fields: tensor-stream(5).
 *
 * Errors:  -1 with err set: ERR_DATA for a record that holds something else. */
#ifndef FRONT_QUESTION_H
#define FRONT_QUESTION_H

#include "answer/answer.h"
#include "wire/record.h"

/* The record's question, laid out; number: its random stream. */
int question_lay_out(struct answer_prompt *p, struct answer *a, struct record *rec,
                     uint64_t number);

/* out becomes rec with answer number `sequence` (negative: the only one) in place of the
 * question's tensors, which stay too under keep. Views of rec and of the answer. */
int question_put_answer(struct record *out, const struct record *rec, int sequence,
                        const struct gen_answer *answer, bool keep);

/* -1 (ERR_DATA) if the record has an attention_rollout that is not f32 (Q, S). */
int question_check_rollout(const struct record *rec, int64_t Q);

/* Adds answer_attention, which is `looks` (N, Q), and, where the record has attention_rollout
 * (Q, S), answer_rollout (N, S), what that comes to. attention_rollout and cross_attentions
 * stay. */
int question_put_looks(struct record *out, struct tensor looks);

/* out becomes {id, partial: true, sequence, output_ids so far}. */
int question_put_part(struct record *out, const struct record *rec, int sequence,
                      const int64_t *ids, int n);

#endif
