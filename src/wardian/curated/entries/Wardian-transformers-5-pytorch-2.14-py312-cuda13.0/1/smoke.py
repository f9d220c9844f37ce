"""Make a tiny language model, train it on one sentence, and let it go on; nothing is downloaded."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
text = "a wardian case carries living plants across the sea. "
letters = sorted(set(text))
ids = torch.tensor([[letters.index(letter) for letter in text * 2]], device=device)
config = GPT2Config(vocab_size=len(letters), n_positions=128, n_embd=48, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
model = GPT2LMHeadModel(config).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
first = model(ids, labels=ids).loss.item()
for _ in range(60):
    optimizer.zero_grad()
    loss = model(ids, labels=ids).loss
    loss.backward()
    optimizer.step()
assert loss.item() < first / 3, (first, loss.item())
model.eval()
more = model.generate(
    ids[:, :20], attention_mask=torch.ones_like(ids[:, :20]), max_new_tokens=10, do_sample=False, pad_token_id=0
)
print(f"smoke: loss {first:.2f} -> {loss.item():.2f}, {''.join(letters[i] for i in more[0].tolist())!r}")
