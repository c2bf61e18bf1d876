/* lavis.c - the names LAVIS gives to tensors that Hugging Face has renamed. */
#include "store/lavis.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *ours, *lavis;
} begins[] = {
    { "vision_model.post_layernorm.", "ln_vision." },
    { "qformer.layernorm.", "Qformer.bert.embeddings.LayerNorm." },
    { "qformer.encoder.", "Qformer.bert.encoder." },
    { "embeddings.", "Qformer.bert.embeddings." },
    { "cls.", "Qformer.cls." },
    { "vision_projection.", "vision_proj." },
    { "text_projection.", "text_proj." },
    { "language_projection.", "opt_proj." },
    { "language_model.", "opt_model." },
};

bool lavis_name(char *out, size_t size, const char *name)
{
    const char *head = NULL, *middle;
    for (size_t i = 0; !head && i < sizeof begins / sizeof *begins; i++) {
        size_t n = strlen(begins[i].ours);
        if (strncmp(name, begins[i].ours, n))
            continue;
        head = begins[i].lavis;
        name += n;
    }
    if (!head)
        return false;
    middle = strstr(name, "attention.attention.");
    int n = middle ? snprintf(out, size, "%s%.*sattention.self.%s", head, (int)(middle - name),
                              name, middle + strlen("attention.attention."))
                   : snprintf(out, size, "%s%s", head, name);
    return n > 0 && (size_t)n < size;
}
