#!/bin/bash
# A training over two nodes with eight GPUs each, by Slurm: sbatch docker/slurm.sh
# Never run by us on a cluster; the meeting of two torchrun agents is tested on one machine.
#SBATCH --job-name=owt
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --signal=B:TERM@180
# The checkout and the data root are on a file system that all nodes share.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?start it with sbatch, in the checkout}"
. .venv/bin/activate
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
agents="srun torchrun --nnodes=$SLURM_NNODES --nproc-per-node=8 --rdzv-id=$SLURM_JOB_ID"
agents="$agents --rdzv-backend=c10d --rdzv-endpoint=$head:29500"
# "exec" and "B:TERM@180": three minutes before the end owt gets SIGTERM, saves, and leaves.
exec owt run --preset openwebtext --set run.num_processes=16 --set "run.launcher=$agents"
