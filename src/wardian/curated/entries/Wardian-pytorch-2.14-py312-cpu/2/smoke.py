"""Train a small network: on the GPU where there is one, else on the CPU."""

import torch

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
x = torch.randn(512, 8, device=device)
y = (x.sum(dim=1, keepdim=True) > 0).float()
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
loss = torch.nn.functional.binary_cross_entropy_with_logits
first = loss(model(x), y).item()
for _ in range(200):
    optimizer.zero_grad()
    error = loss(model(x), y)
    error.backward()
    optimizer.step()
accuracy = ((model(x) > 0).float() == y).float().mean().item()
assert error.item() < first / 2, (first, error.item())
assert accuracy > 0.95, accuracy
print(f"smoke: torch {torch.__version__} on {device}, accuracy {accuracy:.3f}")
