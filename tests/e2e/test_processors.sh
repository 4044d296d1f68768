# Sampling gives the same bits whatever is computed beside it, also with the kernels that BLAS has for other processors.
set -eu
if ! grep -qw avx2 /proc/cpuinfo 2>/dev/null; then
    echo "SKIP processors: needs an x86-64 with AVX2"
    exit 0
fi
for core in Haswell Nehalem; do
    OPENBLAS_CORETYPE=$core "$BUILD/tests/test_generate"
done
