# Rounds of sampling, keeping and training, and training on what the policy makes itself: a run that is killed anywhere
# and goes on ends with the same bytes as the one that nobody disturbed.
. tests/e2e/common.sh
tiny 60
cat > rounds.lua <<'END'
local pf = require "pofit"
local opt = pf.options { "rounds", { "name", "r", "" }, { "model", "", "" },
  { "online", false, "" } }
local run = pf.run(opt)
local task = pf.task.chain(pf.base.task)
local model = pf.model.load(opt.model)
local problems, updates = task:problems("preference", 40), 0
local function loss(m, b)
  updates = updates + 1
  if updates == tonumber(os.getenv "DIE") then os.exit(9) end
  return pf.loss.nll { logp = m:logp(b) }
end
local function collect(m, k, cache)
  return pf.rollout(m, pf.problems.starts(problems), { n = 4, task = task, seed = k, max_tokens = 40, cache = cache,
    run = run, quiet = true })
end
local function train(m, data, part)
  pf.train { model = m, data = data, run = part, steps = 6, batch = 8, lr = 1e-3, checkpoint_every = 2, seed = 1,
    loss = loss }
end
local function data_of(rows) return pf.data.completion(rows, model.tokenizer) end
if opt.online then
  train(model, pf.online { every = 3, n = 24, run = run, data = data_of, make = function(m, k)
    local buffer = pf.buffer()
    buffer:keep(problems, collect(m, k), pf.keep.all())
    return buffer:rows()
  end }, run)
else
  model = pf.rounds { run = run, model = model, rounds = 3, buffer = pf.buffer(),
    collect = function(m, round, part, buffer)
      buffer:keep(problems, collect(m, round, part.cache), pf.keep.right(2))
      buffer:keep(problems, collect(m, round, part.cache), pf.keep.all())
      return buffer:rows()
    end,
    train = function(m, rows, _, part) train(m, data_of(rows), part) end }
end
run:finish { model = model, after = { scores = { { "nothing", { 1 } } }, answers = {} } }
END
export OMP_NUM_THREADS=1
for kind in "" --online; do
    "$POFIT" rounds.lua --model "$MODEL" --name "whole$kind" --quiet $kind || fail "rounds $kind"
    for die in 1 4 5 8 9 18; do
        [ -z "$kind" ] || [ $die -le 6 ] || continue
        name="die$die$kind"
        status=0
        DIE=$die "$POFIT" rounds.lua --model "$MODEL" --name "$name" --quiet $kind || status=$?
        [ $status = 9 ] || fail "update $die did not end the run: status $status"
        "$POFIT" rounds.lua --model "$MODEL" --name "$name" --quiet --resume $kind 2>err || { cat err; fail "resume $name"; }
        same "runs/whole$kind/metrics.jsonl" "runs/$name/metrics.jsonl"
        same "runs/whole$kind/model/model.safetensors" "runs/$name/model/model.safetensors"
        same "runs/whole$kind/result.json" "runs/$name/result.json"
        [ -n "$kind" ] || same runs/whole/round-3/buffer.zst "runs/$name/round-3/buffer.zst"
    done
done
[ "$(wc -l < runs/whole/metrics.jsonl)" = 18 ] || fail "18 updates, 18 rows"
grep -q '"step": 18, "round": 3,' runs/whole/metrics.jsonl || fail "steps count on over the rounds"
grep -q '"updates": 18' runs/whole/result.json || fail "the budget tells the updates: $(cat runs/whole/result.json)"

# what a finished round left may not be changed
cp -r runs/die8 runs/again
rm runs/again/result.json
cp runs/again/round-1/model/model.safetensors runs/again/round-2/model/model.safetensors
sed -i 's/"die8"/"again"/' runs/again/config.json
fails 1 "round-2/model is not what the round left" "$POFIT" rounds.lua --model "$MODEL" --name again --quiet --resume
