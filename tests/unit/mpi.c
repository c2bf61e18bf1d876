/* mpi.c - two ranks with half a batch each against LAVIS's gradients of the whole batch.
 * Started alone it starts itself under mpirun. */
#include "port/mpi.h"

#include "lib/lavis.h"

static void check(const char *dir, const struct train_comm *comm, int losses, bool attached,
                  int64_t micro, const char *file, double loss)
{
    struct train_options o = options(1, losses);
    struct store *st = store_open(dir);
    struct train_losses l;
    double norm;
    o.attached = attached;
    o.micro = micro;
    o.comm = comm;
    struct train *t = st ? train_open(st, NULL, &o, NULL, NULL) : NULL;
    struct train_batch b = stage1_batch(3 * comm->rank, 3);
    int done = t && train_gradients(&l, t, &b) == 0 && train_grad_norm(&norm, t) == 0;
    if (ok(done, "two ranks (%s)", done ? "" : err_msg())) {
        ok(fabs(l.sum - loss) < 2e-5, "loss %.6f, expected %.6f", l.sum, loss);
        compare_grads(t, file, 5e-5);
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
    check(dir, &comm, TRAIN_ALL, false, 0, "stage1/grads-sum", 10.336884506);
    check(dir, &comm, TRAIN_ALL, false, 2, "stage1/grads-sum", 10.336884506);
    check(dir, &comm, TRAIN_ITC, true, 0, "stage1/grads-itc-attached", 2.035489012);
    int failed = tap_done();
    mpi_end();
    return failed;
}

/* What Open MPI leaves behind at its end is not ours to count. */
static int start(const char *self)
{
    char dir[] = "/tmp/vqatools-mpi.XXXXXX", command[9000];
    if (!tap_fixture("train/config.json") || system("command -v mpirun >/dev/null")) {
        skip("mpirun, or shared/fixtures/train");
        return tap_done();
    }
    const char *path = mkdtemp(dir) ? make_stage1(dir, "stage1/tiny-qformer-init") : NULL;
    if (!path)
        return 1;
    snprintf(
        command, sizeof command,
        "ASAN_OPTIONS=detect_leaks=0 timeout 120 mpirun --allow-run-as-root --oversubscribe --mca btl self,vader -n 2 '%s' '%s'",
        self, path);
    int rc = system(command);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) || rc;
}

int main(int argc, char **argv)
{
    return argc > 1 ? rank_main(argv[1]) : start(argv[0]);
}
