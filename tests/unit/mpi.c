/* mpi.c - two ranks with half a batch each against LAVIS's gradients of the whole batch.
 * Started alone it starts itself under mpirun. */
#include "port/mpi.h"

#include "base/arena.h"
#include "lib/tap.h"
#include "store/lavis.h"
#include "store/safetensors.h"
#include "train/train.h"

#include <unistd.h>

static struct arena mem;

static struct safetensors open_file(const char *name)
{
    struct safetensors f = { 0 };
    char path[256];
    snprintf(path, sizeof path, "train/stage1/%s.safetensors", name);
    const char *found = tap_fixture(path);
    if (!found || safetensors_open(&f, arena_strndup(&mem, found, strlen(found)), &mem) < 0)
        ok(0, "%s opens (%s)", path, err_msg());
    return f;
}

static struct tensor get(const struct safetensors *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++) {
        struct tensor t = f->entries[i].tensor;
        if (strcmp(f->entries[i].name, name))
            continue;
        t.data = arena_memdup(&mem, t.data, tensor_bytes(t));
        return t;
    }
    return (struct tensor){ 0 };
}

/* Pairs 0 to 2 on rank 0, 3 to 5 on rank 1; negatives are indices of the whole batch. */
static struct train_batch half(int rank)
{
    struct safetensors f = open_file("batch");
    struct tensor ids = get(&f, "input_ids"), mask = get(&f, "attention_mask");
    struct tensor x = get(&f, "image_feats");
    int64_t T = ids.dim[1], S = x.dim[1], E = x.dim[2], first = 3 * rank;
    int64_t *length = arena_calloc(&mem, 3, sizeof *length);
    for (int64_t i = 0; i < 3 * T; i++)
        length[i / T] += ((int64_t *)mask.data)[first * T + i];
    return (struct train_batch){ .B = 3,
                                 .T = T,
                                 .features = tensor_3d((float *)x.data + first * S * E, DT_F32,
                                                       3, S, E),
                                 .ids = (int64_t *)ids.data + first * T,
                                 .length = length,
                                 .neg_image = (int64_t *)get(&f, "neg_image_idx").data + first,
                                 .neg_text = (int64_t *)get(&f, "neg_text_idx").data + first,
                                 .weight = 1 };
}

static double compare(struct train *t, const char *file)
{
    struct safetensors f = open_file(file);
    size_t n;
    struct train_param *p = train_params(t, &n);
    double worst = 0;
    int compared = 0;
    for (size_t i = 0; i < n; i++) {
        char other[256];
        struct tensor want = get(&f, lavis_name(other, sizeof other, p[i].name) ? other
                                                                                : p[i].name);
        double top = 0, most = 0;
        if (!want.data || strstr(p[i].name, "attention.key.bias"))
            continue;
        for (int64_t j = 0; j < tensor_count(want); j++) {
            double to = tensor_at(want, j);
            top = fmax(top, fabs(to));
            most = fmax(most, fabs((double)p[i].grad[j] - to));
        }
        worst = fmax(worst, most / top);
        compared++;
    }
    safetensors_close(&f);
    return compared > 100 ? worst : INFINITY;
}

static void check(const char *dir, const struct train_comm *comm, int losses, bool attached,
                  int64_t micro, const char *file, double loss)
{
    struct train_options o = train_defaults(1);
    struct store *st = store_open(dir);
    struct train_losses l;
    double norm;
    o.dropout = 0;
    o.losses = losses;
    o.attached = attached;
    o.micro = micro;
    o.dec = 1000;
    o.comm = comm;
    struct train *t = st ? train_open(st, NULL, &o, NULL, NULL) : NULL;
    struct train_batch b = half(comm->rank);
    int done = t && train_gradients(&l, t, &b) == 0 && train_grad_norm(&norm, t) == 0;
    if (ok(done, "two ranks (%s)", done ? "" : err_msg())) {
        double worst = compare(t, file);
        ok(fabs(l.sum - loss) < 2e-5, "loss %.6f, expected %.6f", l.sum, loss);
        ok(worst <= 5e-5, "%s: within %.1e", file, worst);
    }
    train_close(t);
    store_close(st);
}

static int rank_main(const char *dir)
{
    struct train_comm comm = { .gather = mpi_gather,
                               .sum = mpi_sum,
                               .sum_double = mpi_sum_double };
    if (mpi_begin(&comm.rank, &comm.size) < 0)
        return !ok(0, "%s", err_msg());
    if (comm.rank > 0 && !freopen("/dev/null", "w", stdout))
        return 1;
    ok(comm.size == 2, "two ranks");
    check(dir, &comm, TRAIN_ALL, false, 0, "grads-sum", 10.336884506);
    check(dir, &comm, TRAIN_ALL, false, 2, "grads-sum", 10.336884506);
    check(dir, &comm, TRAIN_ITC, true, 0, "grads-itc-attached", 2.035489012);
    int failed = tap_done();
    mpi_end();
    return failed;
}

static const char config[] =
    "{\"architectures\":[\"Blip2ForImageTextRetrieval\"],\"num_query_tokens\":8,"
    "\"image_text_hidden_size\":32,\"vision_config\":{\"hidden_size\":40,\"layer_norm_eps\":"
    "1e-5},\"qformer_config\":{\"hidden_size\":48,\"num_hidden_layers\":4,"
    "\"num_attention_heads\":4,\"intermediate_size\":96,\"cross_attention_frequency\":2,"
    "\"vocab_size\":1001,\"max_position_embeddings\":64,\"use_qformer_text_input\":true}}";

/* What Open MPI leaves behind at its end is not ours to count. */
static int start(const char *self)
{
    char dir[] = "/tmp/vqatools-mpi.XXXXXX", path[4200], real[4096], command[9000];
    const char *weights = tap_fixture("train/stage1/tiny-qformer-init.safetensors");
    if (!weights || system("command -v mpirun >/dev/null")) {
        skip(weights ? "mpirun" : "shared/fixtures/train");
        return tap_done();
    }
    if (!mkdtemp(dir) || !realpath(weights, real))
        return 1;
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    int rc = symlink(real, path);
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "w");
    rc |= !f || fputs(config, f) < 0 || fclose(f);
    snprintf(
        command, sizeof command,
        "ASAN_OPTIONS=detect_leaks=0 timeout 120 mpirun --allow-run-as-root --oversubscribe --mca btl self,vader -n 2 '%s' '%s'",
        self, dir);
    rc |= system(command);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) || rc;
}

int main(int argc, char **argv)
{
    return argc > 1 ? rank_main(argv[1]) : start(argv[0]);
}
